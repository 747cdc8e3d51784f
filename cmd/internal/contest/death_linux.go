package contest

import "syscall"

// ownGroup keeps Ctrl-C, which a terminal sends to the whole group, from reaching the server before this program has
// asked it to stop; the kernel kills the server should this program be killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
