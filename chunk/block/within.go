package block

import "github.com/minitrue/minitrue/shard"

// Within returns those of some series that are in partitions of a set. The ordinals are ascending, and their memory is used for
// the answer.
func (b *Block) Within(ords []uint32, set *shard.Set) ([]uint32, error) {
	in := ords[:0]
	var g group
	for _, ord := range ords {
		if g.rowGroup == nil || ord-g.first >= uint32(g.n) {
			var err error
			if g, err = b.series.group(ord); err != nil {
				return nil, err
			}
		}
		if p := g.u32(serPartition, ord); p < shard.Partitions && set.Has(uint16(p)) {
			in = append(in, ord)
		}
	}
	return in, nil
}
