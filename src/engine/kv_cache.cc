#include "engine/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace dure {
namespace {

constexpr int64_t kB = KvView::kTokens;

int64_t blocks_for(int64_t tokens) { return (tokens + kB - 1) / kB; }

struct Keeper {
  bool mtp = false;
  int64_t window_tokens = 0;
};

// Every layer that keeps keys: the decoder's, then the MTP layer.
std::vector<Keeper> keepers(const ModelConfig& config, const KvCacheOptions& options) {
  std::vector<Keeper> all;
  for (const LayerFacts& layer : config.layers) all.push_back({false, layer.window_tokens});
  if (options.mtp && config.mtp_layer_count > 0)
    all.push_back({true, config.mtp_layer.window_tokens});
  return all;
}

int64_t ring_blocks_for(int64_t window, const KvCacheOptions& options) {
  return blocks_for(window - 1 + options.append_tokens_max) + 1;
}

int64_t page_count_for(const KvCacheOptions& options) {
  return options.page_count > 0
             ? options.page_count
             : options.sequence_count_max * blocks_for(options.context_tokens_max);
}

}  // namespace

KvCachePlan kv_cache_plan(const ModelConfig& config, const KvCacheOptions& options) {
  KvCachePlan plan;
  const int64_t block_bytes =
      kB * row_bytes(options.dtype, config.kv_head_count * config.head_width);
  plan.page_count = page_count_for(options);
  for (const auto& [mtp, window] : keepers(config, options)) {
    int64_t table_blocks = blocks_for(options.context_tokens_max);
    if (window > 0) {
      table_blocks = ring_blocks_for(window, options);
      const int64_t bytes = options.sequence_count_max * table_blocks * 2 * block_bytes;
      plan.ring_bytes += bytes;
      if (mtp) plan.mtp_ring_bytes = bytes;
    } else {
      plan.page_bytes += 2 * block_bytes;
      if (mtp) plan.mtp_page_bytes = 2 * block_bytes;
    }
    plan.table_bytes +=
        options.sequence_count_max * table_blocks * 2 * static_cast<int64_t>(sizeof(void*));
  }
  if (plan.page_bytes == 0) plan.page_count = 0;
  return plan;
}

KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options)
    : config_(config), options_(options) {
  DURE_CHECK(options.sequence_count_max >= 1 && options.context_tokens_max >= 1 &&
             options.append_tokens_max >= 1);
  DURE_CHECK(options.dtype == DType::kF32 || options.dtype == DType::kBF16, "{}",
             dtype_info(options.dtype).name);
  row_bytes_ = row_bytes(options.dtype, config.kv_head_count * config.head_width);
  block_bytes_ = kB * row_bytes_;
  int64_t global_count = 0;
  for (const auto& [mtp, window] : keepers(config, options)) {
    LayerStore layer{.mtp = mtp,
                     .window_tokens = window,
                     .byte_offset = pages_offset_,
                     .table_offset = slot_pointers_};
    if (window > 0) {
      layer.ring_blocks = layer.table_blocks = ring_blocks_for(window, options);
      pages_offset_ += options.sequence_count_max * layer.ring_blocks * 2 * block_bytes_;
    } else {
      layer.global_index = global_count++;
      layer.table_blocks = blocks_for(options.context_tokens_max);
    }
    slot_pointers_ += 2 * layer.table_blocks;
    layers_.push_back(layer);
  }
  page_bytes_ = global_count * 2 * block_bytes_;
  const KvCachePlan plan = kv_cache_plan(config, options);
  storage_ = Buffer(plan.ring_bytes + plan.page_bytes * plan.page_count);
  tables_ = Buffer(plan.table_bytes);
  slots_.resize(static_cast<size_t>(options.sequence_count_max));
  for (Slot& slot : slots_)
    slot.pages.reserve(static_cast<size_t>(blocks_for(options.context_tokens_max)));
  for (int64_t i = options.sequence_count_max; i-- > 0;) free_slots_.push_back(static_cast<int>(i));
  for (int64_t i = page_count_for(options); i-- > 0;)
    free_pages_.push_back(static_cast<int32_t>(i));
}

int KvCache::open() {
  DURE_CHECK(!free_slots_.empty(), "all {} sequences are in use", options_.sequence_count_max);
  const int slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[static_cast<size_t>(slot)].used = true;
  return slot;
}

void KvCache::close(int slot) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  DURE_CHECK(s.used, "slot {}", slot);
  free_pages_.insert(free_pages_.end(), s.pages.rbegin(), s.pages.rend());
  s.pages.clear();
  s.used = false;
  s.model = s.mtp = {};
  free_slots_.push_back(slot);
}

int64_t KvCache::length(int slot) const { return slots_[static_cast<size_t>(slot)].model.length; }

bool KvCache::reserve(int slot, int64_t token_count) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  const int64_t end = s.model.length + token_count;
  if (end > options_.context_tokens_max) return false;
  const int64_t have = static_cast<int64_t>(s.pages.size()), more = blocks_for(end) - have;
  if (more <= 0 || page_bytes_ == 0) return true;
  if (more > static_cast<int64_t>(free_pages_.size())) return false;
  for (int64_t block = have; block < have + more; ++block) {
    s.pages.push_back(free_pages_.back());
    free_pages_.pop_back();
    for (const LayerStore& layer : layers_) {
      if (layer.window_tokens > 0) continue;
      for (const Half half : {Half::kKeys, Half::kValues})
        table(layer, slot, half)[block] = block_address(layer, slot, block, half);
    }
  }
  return true;
}

bool KvCache::rewind(int slot, int64_t position) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  DURE_CHECK(position >= 0 && position <= s.model.length, "{} of {}", position, s.model.length);
  for (const LayerStore& layer : layers_) {
    if (layer.mtp || layer.window_tokens == 0 || position == 0) continue;
    const int64_t oldest_needed = std::max<int64_t>(0, position - layer.window_tokens + 1);
    if (oldest_needed < position && oldest_needed / kB < oldest_block(layer, s)) return false;
  }
  s.model.length = position;
  s.mtp.length = std::min(s.mtp.length, position);
  return true;
}

char* KvCache::block_address(const LayerStore& layer, int slot, int64_t block, Half half) const {
  char* base = static_cast<char*>(storage_.data());
  const int64_t second = half == Half::kValues ? 1 : 0;
  if (layer.window_tokens > 0) {
    return base + layer.byte_offset +
           ((slot * layer.ring_blocks + block % layer.ring_blocks) * 2 + second) * block_bytes_;
  }
  const int64_t page = slots_[static_cast<size_t>(slot)].pages[static_cast<size_t>(block)];
  return base + pages_offset_ + page * page_bytes_ +
         (layer.global_index * 2 + second) * block_bytes_;
}

const void** KvCache::table(const LayerStore& layer, int slot, Half half) const {
  const void** pointers = static_cast<const void**>(tables_.data()) + slot * slot_pointers_;
  return pointers + layer.table_offset + (half == Half::kValues ? layer.table_blocks : 0);
}

int64_t KvCache::oldest_block(const LayerStore& layer, const Slot& slot) const {
  const int64_t written_end = layer.mtp ? slot.mtp.written_end : slot.model.written_end;
  if (layer.window_tokens == 0 || written_end == 0) return 0;
  return std::max<int64_t>(0, (written_end - 1) / kB - layer.ring_blocks + 1);
}

KvView KvCache::view(const LayerStore& layer, int slot, int64_t end) const {
  const Slot& s = slots_[static_cast<size_t>(slot)];
  KvView view{.key_blocks = table(layer, slot, Half::kKeys),
              .value_blocks = table(layer, slot, Half::kValues)};
  view.row_stride = config_.kv_head_count * config_.head_width;
  view.end = end;
  view.dtype = options_.dtype;
  if (layer.window_tokens == 0) return view;
  view.first_block = oldest_block(layer, s);
  view.begin = view.first_block * kB;
  for (int64_t block = view.first_block; block < blocks_for(end); ++block) {
    for (const Half half : {Half::kKeys, Half::kValues}) {
      table(layer, slot, half)[block - view.first_block] = block_address(layer, slot, block, half);
    }
  }
  return view;
}

void BatchKv::set_runs(std::span<const Run> runs) {
  runs_.assign(runs.begin(), runs.end());
  segments_.resize(runs_.size());
  for (const Run& run : runs_) {
    KvCache::Slot& slot = cache_.slots_[static_cast<size_t>(run.slot)];
    const int64_t end = run.first_position + run.row_count;
    DURE_CHECK(run.row_count >= 1 && run.row_count <= cache_.options_.append_tokens_max, "{} rows",
               run.row_count);
    KvCache::Reach& reach = this->reach(slot);
    DURE_CHECK(slot.used && run.first_position <= reach.length &&
                   end <= cache_.options_.context_tokens_max,
               "{} at {}", run.row_count, run.first_position);
    reach.written_end = std::max(reach.written_end, end);
  }
}

void BatchKv::append(int64_t layer_index, TensorView k, TensorView v, Stream& stream) {
  const KvCache::LayerStore& layer = cache_.layers_[static_cast<size_t>(layer_index)];
  const int64_t elements = cache_.config_.kv_head_count * cache_.config_.head_width;
  const float* sources[2] = {k.f32(), v.f32()};
  const bool narrow = cache_.options_.dtype == DType::kBF16;
  stream.threads().parallel_for(static_cast<int64_t>(runs_.size()), [&](int64_t r, int) {
    const Run& run = runs_[static_cast<size_t>(r)];
    for (int64_t i = 0; i < run.row_count; ++i) {
      const int64_t position = run.first_position + i;
      for (const auto half : {KvCache::Half::kKeys, KvCache::Half::kValues}) {
        const float* source =
            sources[half == KvCache::Half::kValues ? 1 : 0] + (run.first_row + i) * elements;
        char* row = cache_.block_address(layer, run.slot, position / kB, half) +
                    position % kB * cache_.row_bytes_;
        if (!narrow) {
          std::memcpy(row, source, static_cast<size_t>(cache_.row_bytes_));
        } else {
          for (int64_t e = 0; e < elements; ++e)
            reinterpret_cast<uint16_t*>(row)[e] = f32_to_bf16(source[e]);
        }
      }
    }
  });
}

std::span<const AttentionSegment> BatchKv::segments(int64_t layer_index) {
  const KvCache::LayerStore& layer = cache_.layers_[static_cast<size_t>(layer_index)];
  for (size_t i = 0; i < runs_.size(); ++i) {
    const Run& run = runs_[i];
    segments_[i] = {run.first_row, run.row_count, run.first_position,
                    cache_.view(layer, run.slot, run.first_position + run.row_count)};
  }
  return segments_;
}

void BatchKv::commit() {
  for (const Run& run : runs_) {
    KvCache::Slot& slot = cache_.slots_[static_cast<size_t>(run.slot)];
    reach(slot).length = run.first_position + run.row_count;
  }
}

}  // namespace dure
