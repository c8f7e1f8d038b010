// The block of an adapter's factors, and the model's fields bound to them.
#include "model/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/hash.h"
#include "base/rng.h"
#include "kernels/random.h"
#include "kernels/rows.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

constexpr int64_t kAlign = 16;  // elements: 64 bytes
int64_t padded(int64_t elements) { return (elements + kAlign - 1) / kAlign * kAlign; }

// Calls use(field) with the place of a target.
template <typename Matrix, typename Use>
void use_target(ModelOf<Matrix, NoTensor>& model, const AdapterTarget& target, Use&& use) {
  tensors_detail::use_field(model, target.id(), [&](auto& field) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(field)>, Matrix>) use(field);
  });
}

std::string factor_name(const AdapterTarget& target, const ModelConfig& config, bool up) {
  std::string name = hf_name(target.id(), config);
  if (name.ends_with(".weight")) name.resize(name.size() - 7);
  return name + (up ? ".lora_B" : ".lora_A");
}

// Of everything that a forward reads of it.
uint64_t fingerprint_of(const AdapterContent& content, const ModelConfig& config) {
  uint64_t hash = 0;
  const auto add = [&](std::span<const float> values) {
    hash = xxh64({reinterpret_cast<const char*>(values.data()), values.size_bytes()}, hash);
  };
  for (size_t i = 0; i < content.layout.size(); ++i) {
    const AdapterTarget& target = content.layout[i];
    hash = xxh64(fmt::format("{} {} {} {}", factor_name(target, config, false), target.rank,
                             target.scale(), target.shares_down),
                 hash);
    add(content.factors[i].down);
    add(content.factors[i].up);
  }
  return hash == 0 ? 1 : hash;
}

}  // namespace

bool adds_to_experts(const ModelAdapter& adapter) {
  return std::ranges::any_of(adapter.layers,
                             [](const LayerAdapter& layer) { return adds_to_experts(layer); });
}

std::vector<AdapterFactor> held_factors(const ModelConfig& config, const AdapterLayout& layout,
                                        const Holding& holding) {
  std::vector<AdapterFactor> out;
  const auto add = [&](size_t place, bool up) {
    const AdapterTarget& target = layout[place];
    const Shape whole = up ? up_shape(target, config) : down_shape(target, config);
    out.push_back({place, up, factor_name(target, config, up), whole, whole});
    if (!is_of_experts(target.role)) return;
    const ExpertRange range = experts_held(holding, whole[0]);
    out.back().shape = {range.count(), whole[1], whole[2]};
    out.back().first = range.begin;
  };
  for (size_t i = 0; i < layout.size(); ++i) {
    DURE_CHECK(!layout[i].shares_down || i > 0, "the first target shares a factor");
    if (!holds(holding, config, layout[i].id())) continue;
    if (!layout[i].shares_down) add(i, false);
    add(i, true);
  }
  return out;
}

int64_t AdapterParameters::bytes(const ModelConfig& config, const AdapterLayout& layout,
                                 const Holding& holding) {
  int64_t elements = 0;
  for (const AdapterFactor& factor : held_factors(config, layout, holding))
    elements += padded(factor.shape.elements());
  return elements * static_cast<int64_t>(sizeof(float));
}

AdapterParameters::AdapterParameters(const ModelConfig& config, AdapterLayout layout,
                                     const Holding& holding, Device device)
    : config_(config),
      layout_(std::move(layout)),
      holding_(holding),
      buffer_(bytes(config, layout_, holding), device) {
  for (AdapterFactor& factor : held_factors(config, layout_, holding))
    list_.push_back({std::move(factor), {}, 0});
  int64_t offset = 0;
  for (const bool behind : {false, true}) {
    for (AdapterParameter& p : list_) {
      const bool part = is_of_experts(layout_[p.target].role) && holding.expert_parts > 1;
      if (part != behind) continue;
      p.view = buffer_.view(DType::kF32, p.shape, offset * static_cast<int64_t>(sizeof(float)));
      p.offset = offset;
      offset += padded(p.shape.elements());
    }
  }
  flat_ = buffer_.view(DType::kF32, {offset});
}

// A `down` stands before all that share it.
template <typename Use>
void AdapterParameters::for_targets(Use&& use) const {
  TensorView down;
  for (const AdapterParameter& p : list_) {
    if (p.is_up) {
      use(layout_[p.target], down, p.view);
    } else {
      down = p.view;
    }
  }
}

void AdapterParameters::initialise(uint64_t seed, Stream& stream) {
  for (const AdapterParameter& p : list_) {
    if (p.is_up) {
      dure::zero(p.view, stream);
      continue;
    }
    const double inputs = static_cast<double>(p.view.shape.back());
    fill_uniform(p.view,
                 {.seed = seed,
                  .stream = stream_id(("initialise " + p.name).c_str()),
                  .first = p.first_element(),
                  .bound = 1 / std::sqrt(inputs)},
                 stream);
  }
}

void AdapterParameters::load(const AdapterContent& content, Stream& stream) {
  DURE_CHECK(content.layout == layout_, "an adapter of another layout");
  for (const AdapterParameter& p : list_) {
    const AdapterFactors& factors = content.factors[p.target];
    const std::span<const float> whole = p.is_up ? factors.up : factors.down;
    copy_from_host(whole.subspan(static_cast<size_t>(p.first_element()),
                                 static_cast<size_t>(p.view.elements())),
                   p.view, stream);
  }
}

AdapterContent AdapterParameters::content(Stream& stream) const {
  DURE_CHECK(holding_.whole(), "a part of an adapter");
  AdapterContent out{.layout = layout_};
  out.factors.resize(layout_.size());
  int64_t most = 0;
  for (const AdapterParameter& p : list_) most = std::max(most, p.view.elements());
  HostCopy<float> copy(most, stream.device());
  for (const AdapterParameter& p : list_) {
    const std::span<const float> values = copy.of(p.view, stream);
    AdapterFactors& factors = out.factors[p.target];
    (p.is_up ? factors.up : factors.down).assign(values.begin(), values.end());
  }
  return out;
}

void AdapterParameters::zero(Stream& stream) { dure::zero(flat_, stream); }

ModelAdapter AdapterParameters::bind() const {
  ModelAdapter out;
  out.layers.resize(config_.layers.size());
  out.rank_max = largest_rank(layout_);
  for_targets([&](const AdapterTarget& target, TensorView down, TensorView up) {
    use_target(out, target, [&](LowRank& field) {
      field.down.data = down;
      field.up.data = up;
      field.scale = static_cast<float>(target.scale());
    });
  });
  return out;
}

ModelAdapterGradients AdapterParameters::by_place() const {
  ModelAdapterGradients out;
  out.layers.resize(config_.layers.size());
  for_targets([&](const AdapterTarget& target, TensorView down, TensorView up) {
    use_target(out, target, [&](LowRankGradient& field) { field = {down, up}; });
  });
  return out;
}

std::shared_ptr<const ModelAdapter> open_adapter(const Path& path, const ModelConfig& base,
                                                 Stream& stream, const Holding& holding) {
  AdapterContent content = read_adapter(path, base);
  const uint64_t fingerprint = fingerprint_of(content, base);
  auto values =
      std::make_shared<AdapterParameters>(base, std::move(content.layout), holding, stream.device());
  content.layout = values->layout();
  values->load(content, stream);
  auto adapter = std::make_shared<ModelAdapter>(values->bind());
  adapter->fingerprint = fingerprint;
  adapter->source = std::move(values);
  return adapter;
}

}  // namespace dure
