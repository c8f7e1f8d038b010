// Where blocks lie, and the tables through which kernels find them.
#include "engine/kv_cache.h"

#include <algorithm>

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
    if (window > 0) {
      const int64_t bytes =
          options.sequence_count_max * ring_blocks_for(window, options) * 2 * block_bytes;
      plan.ring_bytes += bytes;
      if (mtp) plan.mtp_ring_bytes = bytes;
    } else {
      plan.page_bytes += 2 * block_bytes;
      if (mtp) plan.mtp_page_bytes = 2 * block_bytes;
    }
  }
  if (plan.page_bytes == 0) {
    plan.page_count = 0;
  } else {
    plan.table_bytes = options.sequence_count_max * blocks_for(options.context_tokens_max) *
                       static_cast<int64_t>(sizeof(int32_t));
  }
  return plan;
}

// Rings first, layer by layer: [layers][S, ring blocks, blocks of keys and values
// (KvLayout::kHeads)]. Then pages: [pages][global layers, keys and values].
KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options, Device device)
    : config_(config), options_(options), groups_(1) {
  DURE_CHECK(options.sequence_count_max >= 1 && options.context_tokens_max >= 1 &&
             options.append_tokens_max >= 1);
  DURE_CHECK(is_kv_type(options.dtype), "{}", dtype_info(options.dtype).name);
  const KvCachePlan plan = kv_cache_plan(config, options);
  const int64_t element_bytes = row_bytes(options.dtype, 1),
                block_elements = kB * config.kv_head_count * config.head_width,
                block_bytes = block_elements * element_bytes;
  storage_ = Buffer(plan.ring_bytes + plan.page_bytes * plan.page_count, device);
  const auto store_at = [&](int64_t byte_offset, int64_t block_stride_bytes) {
    const auto half = [&](int64_t offset) {
      return storage_.view(options.dtype, {(storage_.bytes() - offset) / element_bytes}, offset);
    };
    return KvStore{half(byte_offset), half(byte_offset + block_bytes), block_stride_bytes};
  };
  int64_t ring_offset = 0, page_offset = plan.ring_bytes;
  for (const auto& [mtp, window] : keepers(config, options)) {
    LayerStore layer{.mtp = mtp, .window_tokens = window};
    if (window > 0) {
      const int64_t ring_blocks = ring_blocks_for(window, options);
      layer.group = group_for(ring_blocks);
      layer.store = store_at(ring_offset, 2 * block_bytes);
      ring_offset += options.sequence_count_max * ring_blocks * 2 * block_bytes;
    } else {
      layer.store = store_at(page_offset, plan.page_bytes);
      page_offset += 2 * block_bytes;
      has_pages_ = true;
    }
    layers_.push_back(layer);
  }
  slots_.resize(static_cast<size_t>(options.sequence_count_max));
  if (has_pages_) {
    const int64_t entries = options.sequence_count_max * blocks_for(options.context_tokens_max);
    page_table_ = HostArray<int32_t>(entries, device);
    page_table_.assign(static_cast<size_t>(entries), 0);
  }
  for (int64_t i = options.sequence_count_max; i-- > 0;) free_slots_.push_back(static_cast<int>(i));
  for (int64_t i = page_count_for(options); i-- > 0;)
    free_pages_.push_back(static_cast<int32_t>(i));
}

size_t KvCache::group_for(int64_t ring_blocks) {
  for (size_t g = 1; g < groups_.size(); ++g) {
    if (groups_[g].ring_blocks == ring_blocks) return g;
  }
  groups_.push_back({ring_blocks});
  return groups_.size() - 1;
}

int64_t KvCache::allocated_bytes() const {
  return storage_.bytes() + static_cast<int64_t>(page_table_.size() * sizeof(int32_t));
}

std::span<int32_t> KvCache::pages(int slot) {
  const auto count = static_cast<size_t>(blocks_for(options_.context_tokens_max));
  return page_table_.values().subspan(static_cast<size_t>(slot) * count, count);
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
  for (int64_t block = s.page_count; block-- > 0;)
    free_pages_.push_back(pages(slot)[static_cast<size_t>(block)]);
  s = Slot{};
  free_slots_.push_back(slot);
}

int64_t KvCache::length(int slot) const { return slots_[static_cast<size_t>(slot)].model.length; }

bool KvCache::reserve(int slot, int64_t token_count) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  const int64_t end = s.model.length + token_count;
  if (end > options_.context_tokens_max) return false;
  const int64_t wanted = blocks_for(end);
  if (!has_pages_ || wanted <= s.page_count) return true;
  if (wanted - s.page_count > std::ssize(free_pages_)) return false;
  for (; s.page_count < wanted; ++s.page_count) {
    pages(slot)[static_cast<size_t>(s.page_count)] = free_pages_.back();
    free_pages_.pop_back();
  }
  return true;
}

bool KvCache::rewind(int slot, int64_t position) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  DURE_CHECK(position >= 0 && position <= s.model.length, "{} of {}", position, s.model.length);
  for (const LayerStore& layer : layers_) {
    if (layer.mtp || layer.window_tokens == 0 || position == 0) continue;
    const int64_t oldest_needed = std::max<int64_t>(0, position - layer.window_tokens + 1);
    if (oldest_needed < position &&
        oldest_needed / kB < oldest_block(groups_[layer.group], s.model))
      return false;
  }
  s.model.length = position;
  s.mtp.length = std::min(s.mtp.length, position);
  return true;
}

int64_t KvCache::place_of(const Group& group, int slot, int64_t block) {
  return group.ring_blocks > 0 ? slot * group.ring_blocks + block % group.ring_blocks
                               : pages(slot)[static_cast<size_t>(block)];
}

int64_t KvCache::oldest_block(const Group& group, const Reach& reach) const {
  if (group.ring_blocks == 0 || reach.written_end == 0) return 0;
  return std::max<int64_t>(0, (reach.written_end - 1) / kB - group.ring_blocks + 1);
}

BatchKv::BatchKv(KvCache& cache, Rows rows)
    : cache_(cache), rows_(rows), groups_(cache.groups_.size()) {
  const KvCacheOptions& options = cache.options_;
  const int64_t sequences = options.sequence_count_max;
  const Device device = cache.storage_.device();
  runs_.reserve(static_cast<size_t>(sequences));
  segments_.reserve(static_cast<size_t>(sequences));
  for (size_t g = 0; g < groups_.size(); ++g) {
    groups_[g].places = HostArray<int64_t>(sequences * options.append_tokens_max, device);
    groups_[g].rings = HostArray<int32_t>(sequences * cache.groups_[g].ring_blocks, device);
    groups_[g].first_blocks.reserve(static_cast<size_t>(sequences));
  }
}

void BatchKv::add_run(const Run& run) {
  KvCache::Slot& slot = cache_.slots_[static_cast<size_t>(run.slot)];
  const int64_t end = run.first_position + run.row_count;
  DURE_CHECK(run.row_count >= 1 && run.row_count <= cache_.options_.append_tokens_max, "{} rows",
             run.row_count);
  KvCache::Reach& reach = this->reach(slot);
  DURE_CHECK(
      slot.used && run.first_position <= reach.length && end <= cache_.options_.context_tokens_max,
      "{} at {}", run.row_count, run.first_position);
  reach.written_end = std::max(reach.written_end, end);
}

void BatchKv::set_runs(std::span<const Run> runs, Stream& stream) {
  runs_.assign(runs.begin(), runs.end());
  segments_.resize(runs_.size());
  for (const Run& run : runs_) add_run(run);
  for (size_t g = 0; g < groups_.size(); ++g) fill_group(g, stream);
}

// The place of every row, and the table of every run.
void BatchKv::fill_group(size_t group, Stream& stream) {
  const KvCache::Group& kind = cache_.groups_[group];
  if (kind.ring_blocks == 0 && !cache_.has_pages_) return;
  GroupRows& out = groups_[group];
  out.places.clear();
  out.rings.clear();
  out.first_blocks.clear();
  for (const Run& run : runs_) {
    KvCache::Slot& slot = cache_.slots_[static_cast<size_t>(run.slot)];
    for (int64_t p = run.first_position; p < run.first_position + run.row_count; ++p)
      out.places.push_back(cache_.place_of(kind, run.slot, p / kB) * kB + p % kB);
    const int64_t first = cache_.oldest_block(kind, reach(slot));
    out.first_blocks.push_back(first);
    for (int64_t i = 0; i < kind.ring_blocks; ++i)
      out.rings.push_back(static_cast<int32_t>(cache_.place_of(kind, run.slot, first + i)));
  }
  out.places_there = out.places.on(stream);
  out.blocks_there = kind.ring_blocks > 0 ? out.rings.on(stream) : cache_.page_table_.on(stream);
}

void BatchKv::append(int64_t layer_index, ConstTensorView k, ConstTensorView v, Stream& stream) {
  const KvCache::LayerStore& layer = cache_.layers_[static_cast<size_t>(layer_index)];
  store_kv(layer.store, groups_[layer.group].places_there, k, v, stream);
}

ConstTensorView BatchKv::blocks_of(size_t group, size_t run) const {
  const int64_t ring = cache_.groups_[group].ring_blocks,
                whole = blocks_for(cache_.options_.context_tokens_max);
  const ConstTensorView all = groups_[group].blocks_there;
  return ring > 0 ? all.rows(static_cast<int64_t>(run) * ring, ring)
                  : all.rows(runs_[run].slot * whole, whole);
}

std::span<const AttentionSegment> BatchKv::segments(int64_t layer_index) {
  const KvCache::LayerStore& layer = cache_.layers_[static_cast<size_t>(layer_index)];
  for (size_t i = 0; i < runs_.size(); ++i) {
    const Run& run = runs_[i];
    const int64_t first_block = groups_[layer.group].first_blocks[i];
    segments_[i] = {run.first_row,
                    run.row_count,
                    run.first_position,
                    {.keys = layer.store.keys,
                     .values = layer.store.values,
                     .block_stride_bytes = layer.store.block_stride_bytes,
                     .blocks = blocks_of(layer.group, i),
                     .first_block = first_block,
                     .layout = KvLayout::kHeads,
                     .begin = first_block * kB,
                     .end = run.first_position + run.row_count}};
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
