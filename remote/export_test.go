package remote

// What the tests of package remote_test need of the fake store.

func NewMemory() *memory { return newMemory() }

func FailReads(m *memory, err error) { m.readErr = err }
