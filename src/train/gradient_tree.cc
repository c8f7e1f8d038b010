// A stack of partial sums: as in counting in binary, equals are added as soon as there are two.
#include "train/gradient_tree.h"

#include <bit>

#include "base/check.h"
#include "kernels/rows.h"

namespace dure {

int64_t GradientTree::block_count(int64_t part_count) {
  return std::bit_width(static_cast<uint64_t>(part_count));
}

GradientTree::GradientTree(const ModelConfig& config, const Holding& holding, int64_t part_count,
                           Device device) {
  DURE_CHECK(part_count >= 1, "{} parts", part_count);
  for (int64_t i = 0; i < block_count(part_count); ++i)
    blocks_.emplace_back(config, holding, device);
  for (const Parameters& block : blocks_) places_.push_back(block.by_place());
}

void GradientTree::freeze_router() {
  for (ModelGradients& places : places_)
    for (LayerGradients& layer : places.layers) layer.router = {};
}

void GradientTree::merge(Stream& stream) {
  --used_;
  add_to(blocks_[used_].flat(), blocks_[used_ - 1].flat(), stream);
}

void GradientTree::next_part(Stream& stream) {
  ++closed_;
  for (int64_t count = closed_; count % 2 == 0; count /= 2) merge(stream);
  DURE_CHECK(used_ < blocks_.size(), "{} parts where fewer were planned", closed_ + 1);
  blocks_[used_].zero(stream);
  ++used_;
}

void GradientTree::fold(int64_t first, int64_t count, Stream& stream) {
  for (size_t i = used_ - 1; i > 0; --i)
    add_to(blocks_[i].flat().rows(first, count), blocks_[i - 1].flat().rows(first, count), stream);
}

void GradientTree::fold_done() {
  used_ = 1;
  closed_ = 0;
}

}  // namespace dure
