// model/holding.h: what one rank holds of a model: which layers, which tensors around them, which
// of each sparse layer's routed experts.
//
// Names, ids and order stay those of the whole model, so that files do not depend on who holds
// what. The default holds everything. Experts are cut in parts of one size, in order: of E experts
// part p of n is [E p / n, E (p + 1) / n). Not here: which rank holds what (comm/mesh.h, train/),
// the memory (parameters.h), how a layer reaches experts elsewhere (expert_exchange.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/tensor_names.h"

namespace dure {

struct Holding {
  // Of the main layers: [layer_begin, layer_end), at most all there are.
  int64_t layer_begin = 0, layer_end = INT64_MAX;
  bool embedding = true;
  bool head = true;  // and the final norm
  bool mtp = true;
  // Of the layers held: the matrices and biases of routed experts, and all the rest.
  bool routed = true, rest = true;
  int64_t expert_part = 0, expert_parts = 1;  // of the routed experts

  bool operator==(const Holding&) const = default;
  bool whole() const { return *this == Holding{}; }
};

// Those of the roles that a layer has once an expert: matrices and biases.
bool is_of_experts(TensorRole role);

struct ExpertRange {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
};
// Of a sparse layer's experts. Checked: they divide.
ExpertRange experts_held(const Holding& holding, int64_t expert_count);

// The first sparse layer, the MTP layer among them, whose experts are not so many equal parts.
std::optional<int64_t> first_uneven_layer(const ModelConfig& config, int64_t expert_parts);

bool holds_layer(const Holding& holding, int64_t layer);
// A tensor, or the expert of a stack that `id` names; of a whole stack: some of it.
bool holds(const Holding& holding, const ModelConfig& config, TensorId id);

// A tensor of the model, or what a holding has of it.
struct HeldTensor : ImpliedTensor {  // `shape`: of what is held
  Shape whole;                       // of the model's
  int64_t first = 0;                 // expert, of a stack or of its biases
  int64_t first_element() const { return first == 0 ? 0 : shape.elements() / shape[0] * first; }
};
// Of tensor_list(), in its order.
std::vector<HeldTensor> held_tensors(const ModelConfig& config, const Holding& holding);

}  // namespace dure
