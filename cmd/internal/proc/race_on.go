//go:build race

package proc

const race = true

// slower is how much longer things take with the race detector, at most.
const slower = 5
