package vector

// rates evaluates rate, increase and delta, which look at the two ends of a window and at the resets between.
func (w *worker) rates(out []float64) {
	u, g := &w.u, &w.p.grid
	counter := w.p.fn != fnDelta
	w.resets = w.resets[:0]
	if counter {
		w.findResets()
	}
	resets := w.resets
	lo, hi := 0, 0
	for i := range out {
		end := g.at(i)
		for hi < len(u.t) && u.t[hi] <= end {
			hi++
		}
		for lo < hi && u.t[lo] <= end-g.back {
			lo++
		}
		out[i] = absent
		if lo == hi {
			continue
		}
		n := u.count(lo, hi)
		if n < 2 {
			continue
		}
		first := u.first(lo)
		gain := u.v[hi-1] - first
		for len(resets) > 0 && int(resets[0]) <= lo {
			resets = resets[1:]
		}
		for _, k := range resets {
			if int(k) >= hi {
				break
			}
			gain += u.v[k-1]
		}
		factor := w.p.extrapolate(end, u.firstTime(lo), u.t[hi-1], n, first, gain)
		if w.p.fn == fnRate {
			factor /= w.p.window
		}
		out[i] = gain * factor
	}
}

// findResets finds the units that begin below the end of the one before.
func (w *worker) findResets() {
	u := &w.u
	begin := u.v
	if u.mixed {
		begin = u.f
	}
	for k := 1; k < len(begin); k++ {
		if begin[k] < u.v[k-1] {
			w.resets = append(w.resets, int32(k))
		}
	}
}

// extrapolate returns by what a gain between the first and the last sample is to be multiplied to stand for the whole
// window, as Prometheus does it: up to the window's bound where a sample is missing there by chance, else by
// half a step, and for a counter not to before it was zero.
func (p *plan) extrapolate(end, firstT, lastT int64, n int, first, gain float64) float64 {
	toStart := float64(firstT-(end-p.grid.back)) / 1000
	toEnd := float64(end-lastT) / 1000
	sampled := float64(lastT-firstT) / 1000
	average := sampled / float64(n-1)
	threshold := average * 1.1
	if toStart >= threshold {
		toStart = average / 2
	}
	if p.fn != fnDelta && gain > 0 && first >= 0 {
		if toZero := sampled * (first / gain); toZero < toStart {
			toStart = toZero
		}
	}
	if toEnd >= threshold {
		toEnd = average / 2
	}
	factor := 1.0
	if sampled != 0 {
		factor = (sampled + toStart + toEnd) / sampled
	}
	return factor
}
