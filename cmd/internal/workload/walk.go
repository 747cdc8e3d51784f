package workload

// A sensor's values are whole numbers of its smallest unit, divided by scale: so
// each is the float nearest to a short decimal, as real sensors send them.
type sensor struct {
	name     string
	min, max int32   // in smallest units
	step     int32   // the largest change between two samples
	quiet    uint64  // of 16 samples, how many repeat the one before
	scale    float64 // 10 for one decimal
	counter  bool    // only grows, from min
}

var sensors = [...]sensor{
	{name: "temperature", min: 150, max: 350, step: 2, quiet: 8, scale: 10},
	{name: "humidity", min: 200, max: 900, step: 3, quiet: 6, scale: 10},
	{name: "pressure", min: 9800, max: 10400, step: 1, quiet: 10, scale: 10},
	{name: "co2_ppm", min: 400, max: 2000, step: 12, quiet: 2, scale: 1},
	{name: "battery_volts", min: 2900, max: 3700, step: 1, quiet: 14, scale: 1000},
	{name: "illuminance_lux", min: 0, max: 20000, step: 40, quiet: 4, scale: 1},
	{name: "sound_db", min: 300, max: 900, step: 25, quiet: 1, scale: 10},
	{name: "pm25", min: 0, max: 1500, step: 4, quiet: 5, scale: 10},
	{name: "power_watts", min: 0, max: 30000, step: 90, quiet: 3, scale: 10},
	{name: "energy_wh_total", min: 0, max: 1 << 30, step: 60, quiet: 1, scale: 10, counter: true},
}

// uniqueSteps bounds a series' samples so that unique values stay exact: 10⁸ series × 10⁷ steps < 2⁵³.
const uniqueSteps = 10_000_000

// A Walker makes the values of one series, in order.
type Walker struct {
	rng    uint64
	state  int32 // the value before the next one, or the number of the next step
	sensor uint8 // index in sensors, or unique
}

const unique = 255

// Walker returns the walker of a series, which stands before its first sample.
func (s Shape) Walker(series int) Walker {
	if s.Values == Unique {
		return Walker{rng: uint64(series), sensor: unique}
	}
	w := Walker{rng: mix(s.Seed ^ mix(uint64(series)+1)), sensor: uint8(series % len(sensors))}
	p := &sensors[w.sensor]
	w.state = p.min
	if !p.counter {
		w.state += int32(mix(w.rng) % uint64(p.max-p.min))
	}
	return w
}

// Next returns the next value.
func (w *Walker) Next() float64 {
	if w.sensor == unique {
		v := float64(w.rng*uniqueSteps + uint64(w.state))
		w.state++
		return v
	}
	p := &sensors[w.sensor]
	w.rng += 0x9e3779b97f4a7c15
	r := mix(w.rng)
	if r&15 < p.quiet {
		return float64(w.state) / p.scale
	}
	r = r >> 4 & 0xffffff
	if p.counter {
		w.state += int32(r % uint64(p.step+1))
		return float64(w.state) / p.scale
	}
	next := w.state + int32(r%uint64(2*p.step+1)) - p.step
	if next < p.min || next > p.max {
		next = 2*w.state - next // walk back from the wall
	}
	w.state = next
	return float64(next) / p.scale
}

// mix is the output function of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
