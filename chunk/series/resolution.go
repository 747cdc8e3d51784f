package series

import "context"

type resolutionKey struct{}

// AllowResolution returns a context whose reader accepts buckets of up to so many milliseconds in the place of samples that
// are no longer kept.
func AllowResolution(ctx context.Context, ms int64) context.Context {
	return context.WithValue(ctx, resolutionKey{}, ms)
}

// Resolution is what was allowed, and 0 if nothing was.
func Resolution(ctx context.Context) int64 {
	ms, _ := ctx.Value(resolutionKey{}).(int64)
	return ms
}
