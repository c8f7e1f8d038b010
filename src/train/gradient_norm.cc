// Every rank says once where its chunks stand; then sums alone travel.
#include "train/gradient_norm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/optimiser.h"
#include "model/tensors.h"

namespace dure {
namespace {

int64_t chunks_of_piece(const Shape& shape, int64_t pieces) {
  return squares_chunk_count(shape.elements() / pieces);
}

}  // namespace

int64_t norm_pieces(const ImpliedTensor& tensor) {
  return is_of_experts(tensor.id.role) ? tensor.shape[0] : 1;
}

GradientNorm::GradientNorm(const ModelConfig& config,
                           const std::function<bool(const ImpliedTensor&)>& is_trained) {
  for (const ImpliedTensor& tensor : tensor_list(config))
    if (is_trained(tensor)) have(tensor.name, norm_pieces(tensor), tensor.shape);
}

GradientNorm::GradientNorm(const ModelConfig& config, const AdapterLayout& layout) {
  for (const AdapterFactor& factor : held_factors(config, layout))
    have(factor.name, factor.norm_pieces(), factor.shape);
}

void GradientNorm::have(const std::string& name, int64_t pieces, const Shape& shape) {
  firsts_.push_back({name, count_});
  count_ += pieces * chunks_of_piece(shape, pieces);
}

void GradientNorm::add(const std::string& name, int64_t first, int64_t pieces, const Shape& shape) {
  const auto at = std::ranges::find(firsts_, name, &First::name);
  DURE_CHECK(at != firsts_.end(), "{} is not trained", name);
  const int64_t each = chunks_of_piece(shape, pieces), count = pieces * each;
  for (int64_t i = 0; i < count; ++i) own_.push_back(at->chunk + first * each + i);
}

void GradientNorm::learn_places(Group& world) {
  if (!counts_.empty()) return;
  const auto* bytes = reinterpret_cast<const char*>(own_.data());
  const auto all =
      world.all_gather_text({bytes, own_.size() * sizeof(int64_t)}, "places in the gradient norm");
  for (const std::string& text : all) {
    const size_t count = text.size() / sizeof(int64_t), before = places_.size();
    counts_.push_back(static_cast<int64_t>(count));
    places_.resize(before + count);
    if (count > 0) std::memcpy(places_.data() + before, text.data(), text.size());
  }
  DURE_CHECK(std::ssize(places_) == count_, "{} chunks of {} are somebody's", places_.size(),
             count_);
}

double GradientNorm::norm(std::span<const double> own, Group& world) {
  learn_places(world);
  std::vector<double> gathered(places_.size()), in_order(places_.size());
  world.all_gather(own, counts_, std::span(gathered), "gradient norm");
  for (size_t i = 0; i < places_.size(); ++i)
    in_order[static_cast<size_t>(places_[i])] = gathered[i];
  return std::sqrt(sum_of_chunks(in_order));
}

}  // namespace dure
