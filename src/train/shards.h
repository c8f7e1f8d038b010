// train/shards.h: which rank owns which tensors: their optimiser's state, the sum of their
// gradients and their update (ZeRO, stage 1: Rajbhandari et al. 1910.02054).
//
// A rank owns a run of whole tensors, neighbours in the block of parameters: Muon needs whole
// matrices, and neighbours travel without packing. Also which parts of a step a rank computes. Not
// here: the exchange (learner.cc).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/mesh.h"
#include "model/parameters.h"

namespace dure {

struct Shards {
  std::vector<size_t> first_tensor;     // [ranks + 1] places in Parameters::list()
  std::vector<int64_t> first_elements;  // [ranks + 1] of flat()
  std::vector<int64_t> elements;        // [ranks] of flat(), padding included

  bool owns(int rank, size_t tensor) const {
    const auto r = static_cast<size_t>(rank);
    return first_tensor[r] <= tensor && tensor < first_tensor[r + 1];
  }
  // This rank's run of such a block.
  TensorView of(int rank, const Parameters& block) const {
    const auto r = static_cast<size_t>(rank);
    return block.flat().rows(first_elements[r], elements[r]);
  }
};

// The largest share of the costs (one a tensor) is as small as runs of tensors allow. A rank may
// own nothing.
Shards share_out(const ParameterLayout& layout, std::span<const int64_t> costs, int ranks);

// Parts [first, first + count) of `part_count` are this rank's. Checked: they divide.
struct PartRange {
  int64_t first = 0, count = 1;
};
PartRange parts_of(const Group& group, int64_t part_count);

// Items [begin, end) of `count` that lie in part p of `part_count`.
struct ItemRange {
  int64_t begin = 0, end = 0;
};
inline ItemRange items_of_part(int64_t count, int64_t p, int64_t part_count) {
  return {count * p / part_count, count * (p + 1) / part_count};
}

// own: [this rank's parts, width], in order. What the parts of all ranks come to, in one tree over
// the parts: [width].
std::vector<double> sum_over_parts(std::span<const double> own, int64_t width, int64_t part_count,
                                   Group& group);

// Throws kInvalidArgument where the ranks cannot share the parts in whole branches of their tree:
// the parts are the ranks of a batch times a power of two, or as many as these; and where there are
// data ranks besides, the expert ranks are a power of two. `field` names the parts, `hint` says
// what to do.
void check_parts(const MeshShape& ranks, int64_t part_count, const std::string& source,
                 const std::string& field, const std::string& hint);

// Throws kInvalidArgument where the expert ranks do not divide the experts of every sparse layer,
// or there is none.
void check_experts_over_ranks(const ModelConfig& config, const MeshShape& ranks,
                              const std::string& source);

}  // namespace dure
