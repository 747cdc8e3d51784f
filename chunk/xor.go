package chunk

import (
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// appendXOR decodes an XOR chunk.
func appendXOR(dst *Columns, data []byte) error {
	c, err := Chunk{Encoding: XOR, Data: data}.Decode()
	if err != nil {
		return err
	}
	it := c.Iterator(nil)
	for it.Next() != chunkenc.ValNone {
		t, v := it.At()
		dst.T, dst.V = append(dst.T, t), append(dst.V, v)
	}
	return it.Err()
}
