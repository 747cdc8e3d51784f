//go:build !race

package proc

const race = false

const slower = 1
