// bench/filled_kv.h: what depth costs, without reading a prompt of that depth: random keys and
// values put where those of a prompt would be, at the speed of memory. How long attention takes
// does not depend on what they are.
#pragma once

#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "engine/kv_cache.h"

namespace dure {

class KvFiller {
 public:
  KvFiller(const ModelConfig& config, KvCache& cache, Stream& stream)
      : config_(config), cache_(cache), stream_(stream), kv_(cache) {
    Rng rng(3);
    const int64_t count = cache.options().append_tokens_max * cache.row_elements();
    for (int64_t i = 0; i < count; ++i) rows_.push_back(static_cast<float>(rng.uniform() - 0.5));
  }

  // Until the sequence has so many positions. False where the cache has no room for them.
  bool fill(int slot, int64_t positions) {
    for (int64_t at = cache_.length(slot); at < positions; at = cache_.length(slot)) {
      const int64_t count = std::min(cache_.options().append_tokens_max, positions - at);
      if (!cache_.reserve(slot, count)) return false;
      const BatchKv::Run run{.slot = slot, .row_count = count, .first_position = at};
      kv_.set_runs({&run, 1}, stream_);
      const ConstTensorView rows =
          host_view(rows_.data(), {count, config_.kv_head_count, config_.head_width});
      for (int64_t layer = 0; layer < config_.layer_count(); ++layer)
        kv_.append(layer, rows, rows, stream_);
      kv_.commit();
      cache_.trim(slot);
    }
    return true;
  }

 private:
  const ModelConfig& config_;
  KvCache& cache_;
  Stream& stream_;
  BatchKv kv_;
  std::vector<float> rows_;  // [M, G, H]
};

}  // namespace dure
