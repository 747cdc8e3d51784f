package proc

import "syscall"

// dieWithParent asks the kernel to kill the process when the test is killed, and so cannot.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
