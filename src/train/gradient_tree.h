// train/gradient_tree.h: the gradients of a step, summed over its parts in one tree.
//
// A part is a run of micro-batches whose gradients go into one block one after another. Parts are
// added in pairs, level by level, an odd last one carried up, the same tree whoever holds them
// (docs/ranks.md): here over the parts of one rank, over ranks in SharedBlock. A part alone costs
// nothing: one block and no addition. Not here: which parts a step has (next_token_step.h).
#pragma once

#include <vector>

#include "model/parameters.h"

namespace dure {

class GradientTree {
 public:
  // Room for the parts of one rank: as many blocks as its tree is deep.
  GradientTree(const ModelConfig& config, const Holding& holding, int64_t part_count,
               Device device);
  static int64_t block_count(int64_t part_count);

  // What the backward of the part at hand adds to.
  const ModelGradients& current() const { return places_[used_ - 1]; }
  // The part at hand is done; the next one begins from zero. Not before the first.
  void next_part(Stream& stream);
  // All parts are done, or what the last one adds to these elements of the block: their sum is in
  // sum(). Each element once, then fold_done(). A part may follow after clear().
  void fold(int64_t first, int64_t count, Stream& stream);
  void fold_done();
  Parameters& sum() { return blocks_[0]; }
  const Parameters& sum() const { return blocks_[0]; }
  void clear(Stream& stream) { blocks_[0].zero(stream); }
  // The router's matrix is frozen: its gradient is left out.
  void freeze_router();

 private:
  void merge(Stream& stream);
  std::vector<Parameters> blocks_;  // partial sums, the earliest and largest first
  std::vector<ModelGradients> places_;
  size_t used_ = 1;
  int64_t closed_ = 0;  // parts
};

}  // namespace dure
