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
  return std::ranges::any_of(adapter.layers, [](const auto& layer) {
    return layer.expert_gate || layer.expert_up || layer.expert_down;
  });
}

int64_t AdapterParameters::bytes(const ModelConfig& config, const AdapterLayout& layout) {
  int64_t elements = 0;
  for (const AdapterTarget& target : layout) {
    if (!target.shares_down) elements += padded(down_shape(target, config).elements());
    elements += padded(up_shape(target, config).elements());
  }
  return elements * static_cast<int64_t>(sizeof(float));
}

AdapterParameters::AdapterParameters(const ModelConfig& config, AdapterLayout layout, Device device)
    : config_(config), layout_(std::move(layout)), buffer_(bytes(config, layout_), device) {
  int64_t offset = 0;
  const auto take = [&](size_t target, bool up) {
    const AdapterTarget& t = layout_[target];
    const Shape shape = up ? up_shape(t, config_) : down_shape(t, config_);
    const TensorView view =
        buffer_.view(DType::kF32, shape, offset * static_cast<int64_t>(sizeof(float)));
    list_.push_back({target, up, factor_name(t, config_, up), view, offset});
    offset += padded(view.elements());
    return list_.size() - 1;
  };
  for (size_t i = 0; i < layout_.size(); ++i) {
    DURE_CHECK(!layout_[i].shares_down || i > 0, "the first target shares a factor");
    down_.push_back(layout_[i].shares_down ? down_.back() : take(i, false));
    up_.push_back(take(i, true));
  }
  flat_ = buffer_.view(DType::kF32, {offset});
}

TensorView AdapterParameters::factor(size_t target, bool up) const {
  return list_[up ? up_[target] : down_[target]].view;
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
                  .bound = 1 / std::sqrt(inputs)},
                 stream);
  }
}

void AdapterParameters::load(const AdapterContent& content, Stream& stream) {
  DURE_CHECK(content.layout == layout_, "an adapter of another layout");
  for (const AdapterParameter& p : list_) {
    const AdapterFactors& factors = content.factors[p.target];
    copy_from_host(std::span<const float>(p.is_up ? factors.up : factors.down), p.view, stream);
  }
}

AdapterContent AdapterParameters::content(Stream& stream) const {
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
  for (size_t i = 0; i < layout_.size(); ++i) {
    use_target(out, layout_[i], [&](LowRank& field) {
      field.down.data = factor(i, false);
      field.up.data = factor(i, true);
      field.scale = static_cast<float>(layout_[i].scale());
    });
  }
  return out;
}

ModelAdapterGradients AdapterParameters::by_place() const {
  ModelAdapterGradients out;
  out.layers.resize(config_.layers.size());
  for (size_t i = 0; i < layout_.size(); ++i) {
    use_target(out, layout_[i], [&](LowRankGradient& field) {
      field = {factor(i, false), factor(i, true)};
    });
  }
  return out;
}

std::shared_ptr<const ModelAdapter> open_adapter(const Path& path, const ModelConfig& base,
                                                 Stream& stream) {
  AdapterContent content = read_adapter(path, base);
  const uint64_t fingerprint = fingerprint_of(content, base);
  auto values =
      std::make_shared<AdapterParameters>(base, std::move(content.layout), stream.device());
  content.layout = values->layout();
  values->load(content, stream);
  auto adapter = std::make_shared<ModelAdapter>(values->bind());
  adapter->fingerprint = fingerprint;
  adapter->source = std::move(values);
  return adapter;
}

}  // namespace dure
