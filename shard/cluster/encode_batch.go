package cluster

import "github.com/minitrue/minitrue/chunk/series"

// Encode gives emit what of a batch is not rejected, as remote_write 1.0 messages that are not compressed, of 4 MiB or not much more. Together
// they are the batch bit for bit. A message is valid during the call.
func Encode(b *series.Batch, emit func(message []byte) error) error {
	s := splits.Get().(*split)
	defer s.release()
	out := s.plain[:0]
	defer func() { s.plain = out[:0] }()
	for i := range b.Metadata {
		var err error
		if out, err = appendMetadata(out, &b.Metadata[i]); err != nil {
			return err
		}
	}
	for i := range b.Series {
		e := &b.Series[i]
		if e.Bad {
			continue
		}
		err := s.eachPiece(b, i, func(samples []series.Sample, more []byte, _ int) error {
			if out = appendSeries(out, e.Key, samples, more); len(out) < parcelBytes {
				return nil
			}
			err := emit(out)
			out = out[:0]
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(out) == 0 {
		return nil
	}
	return emit(out)
}

// eachPiece calls f with what a batch has of a series: once, unless it is very much. more are exemplars and histograms, encoded and valid during
// the call. A series that brings nothing has no piece.
func (s *split) eachPiece(b *series.Batch, i int, f func(samples []series.Sample, more []byte, histograms int) error) error {
	e := &b.Series[i]
	samples := b.Samples[e.First : e.First+e.Count]
	hs := run(b.Histograms, i, func(h *series.Histogram) int { return h.Series })
	xs := run(b.Exemplars, i, func(x *series.Exemplar) int { return x.Series })
	for len(samples)+len(hs)+len(xs) > 0 {
		var ss []series.Sample
		var h []series.Histogram
		var x []series.Exemplar
		ss, samples = cut(samples, pieceSamples)
		h, hs = cut(hs, pieceHistograms)
		x, xs = cut(xs, pieceExemplars)
		more, err := s.more[:0], error(nil)
		for j := range x {
			more = appendExemplar(more, &x[j])
		}
		for j := range h {
			if more, err = appendHistogram(more, &h[j]); err != nil {
				return err
			}
		}
		s.more = more
		if err := f(ss, more, len(h)); err != nil {
			return err
		}
	}
	return nil
}
