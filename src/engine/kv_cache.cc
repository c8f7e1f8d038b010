// Where blocks lie, who holds them, and the tables through which kernels find them.
#include "engine/kv_cache.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/rows.h"

namespace dure {
namespace {

constexpr int64_t kB = KvView::kTokens;

int64_t blocks_for(int64_t tokens) { return (tokens + kB - 1) / kB; }

// The most blocks that so many positions in a row lie in.
int64_t blocks_touched(int64_t positions) {
  return positions <= 0 ? 0 : (positions + kB - 2) / kB + 1;
}

// The oldest block that a row at `position` or later sees.
int64_t oldest_block(int64_t window_tokens, int64_t position) {
  return window_tokens > 0 ? std::max<int64_t>(0, position - window_tokens + 1) / kB : 0;
}

struct GroupPlan {
  int64_t window_tokens = 0;  // 0: pages
  int64_t layer_count = 0, mtp_layer_count = 0;
  int64_t table_blocks = 0;                    // of a sequence
  int64_t block_count = 0, prefix_blocks = 0;  // the second are among the first
  int64_t block_bytes = 0;                     // over all layers
};

struct Keeper {
  bool mtp = false;
  int64_t window_tokens = 0;
};

// Every layer that keeps keys: the decoder's, then the MTP layer.
std::vector<Keeper> keepers(const ModelConfig& config, const KvCacheOptions& options) {
  std::vector<Keeper> all;
  for (const LayerFacts& layer : config.layers) all.push_back({false, layer.window_tokens});
  if (options.draft_tokens_max > 0 && config.mtp_layer_count > 0)
    all.push_back({true, config.mtp_layer.window_tokens});
  return all;
}

// Keys and values of a block in one layer.
int64_t layer_block_bytes(const ModelConfig& config, const KvCacheOptions& options) {
  require_kv_width(options.dtype, config.head_width);
  return 2 * kB * row_bytes(options.dtype, config.kv_head_count * config.head_width);
}

size_t group_of(const std::vector<GroupPlan>& groups, int64_t window_tokens) {
  const auto found = std::find_if(groups.begin(), groups.end(), [&](const GroupPlan& g) {
    return g.window_tokens == window_tokens;
  });
  return static_cast<size_t>(found - groups.begin());
}

// See the header for the arithmetic of rings.
void count_blocks(const KvCacheOptions& o, GroupPlan& group) {
  const int64_t context_blocks = blocks_for(o.context_tokens_max), sequences = o.sequence_count_max;
  if (group.layer_count == 0) return;
  if (group.window_tokens == 0) {
    group.table_blocks = context_blocks;
    group.block_count = o.page_count > 0 ? o.page_count : sequences * context_blocks;
    return;
  }
  const int64_t rows = o.rows_max > 0 ? o.rows_max : sequences * o.append_tokens_max,
                lasting = group.window_tokens + o.draft_tokens_max - 2;
  group.table_blocks = std::min(context_blocks, (lasting + o.append_tokens_max) / kB + 2);
  group.block_count =
      std::min(sequences * group.table_blocks, (sequences * lasting + rows) / kB + 2 * sequences);
}

// Of a snapshot with the pages of half a stride, no longer than a context.
int64_t snapshot_blocks(const KvCacheOptions& o, const GroupPlan& group) {
  if (group.layer_count == 0) return 0;
  const int64_t blocks = group.window_tokens > 0
                             ? blocks_touched(group.window_tokens - 1)
                             : std::max<int64_t>(1, o.prefix_stride_tokens / (2 * kB));
  return std::min(blocks, blocks_for(o.context_tokens_max));
}

int64_t snapshot_bytes(const KvCacheOptions& o, const std::vector<GroupPlan>& groups) {
  int64_t bytes = 0;
  for (const GroupPlan& group : groups) bytes += snapshot_blocks(o, group) * group.block_bytes;
  return bytes;
}

// As many snapshots as fit.
void add_prefixes(const KvCacheOptions& o, std::vector<GroupPlan>& groups) {
  const int64_t bytes = snapshot_bytes(o, groups);
  const int64_t count = bytes > 0 ? o.prefix_bytes_max / bytes : 0;
  for (GroupPlan& group : groups) {
    group.prefix_blocks = count * snapshot_blocks(o, group);
    group.block_count += group.prefix_blocks;
  }
}

// Without the MTP layer nothing goes ahead of the model.
KvCacheOptions with_drafts_of(const ModelConfig& config, KvCacheOptions options) {
  if (config.mtp_layer_count == 0) options.draft_tokens_max = 0;
  return options;
}

std::vector<GroupPlan> plan_groups(const ModelConfig& config, const KvCacheOptions& given) {
  const KvCacheOptions options = with_drafts_of(config, given);
  std::vector<GroupPlan> groups(1);
  for (const auto& [mtp, window] : keepers(config, options)) {
    const size_t index = group_of(groups, window);
    if (index == groups.size()) groups.push_back({.window_tokens = window});
    GroupPlan& group = groups[index];
    ++group.layer_count;
    group.mtp_layer_count += mtp ? 1 : 0;
    group.block_bytes += layer_block_bytes(config, options);
  }
  for (GroupPlan& group : groups) count_blocks(options, group);
  add_prefixes(options, groups);
  return groups;
}

}  // namespace

KvCachePlan kv_cache_plan(const ModelConfig& config, const KvCacheOptions& options) {
  KvCachePlan plan;
  const int64_t layer_bytes = layer_block_bytes(config, options);
  const std::vector<GroupPlan> groups = plan_groups(config, options);
  plan.snapshot_bytes = snapshot_bytes(options, groups);
  for (const GroupPlan& group : groups) {
    plan.prefix_bytes += group.prefix_blocks * group.block_bytes;
    const int64_t mtp_bytes = group.mtp_layer_count * layer_bytes;
    if (group.window_tokens > 0) {
      plan.ring_bytes += group.block_count * group.block_bytes;
      plan.mtp_ring_bytes += group.block_count * mtp_bytes;
    } else {
      plan.page_bytes = group.block_bytes;
      plan.mtp_page_bytes = mtp_bytes;
      plan.page_count = group.block_count;
      plan.table_bytes =
          options.sequence_count_max * group.table_blocks * static_cast<int64_t>(sizeof(int32_t));
    }
  }
  return plan;
}

// Group by group: [blocks][layers of the group][keys, values (KvLayout::kHeads)]: a block is one
// piece.
KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options, Stream& stream)
    : config_(config), options_(with_drafts_of(config, options)), stream_(stream) {
  DURE_CHECK(options.sequence_count_max >= 1 && options.context_tokens_max >= 1 &&
             options.append_tokens_max >= 1 && options.draft_tokens_max >= 0);
  DURE_CHECK(is_kv_type(options.dtype), "{}", dtype_info(options.dtype).name);
  const std::vector<GroupPlan> plans = plan_groups(config, options);
  const int64_t sequences = options.sequence_count_max;
  int64_t bytes = 0;
  for (const GroupPlan& plan : plans) bytes += plan.block_count * plan.block_bytes;
  storage_ = Buffer(bytes, stream.device());
  std::vector<int64_t> offsets;  // of each group's next layer
  bytes = 0;
  for (const GroupPlan& plan : plans) {
    offsets.push_back(bytes);
    Group& group = groups_.emplace_back();
    group.window_tokens = plan.window_tokens;
    group.table_blocks = plan.table_blocks;
    group.pool = BlockPool(plan.block_count);
    group.blocks = storage_.view(DType::kU8, {plan.block_count, plan.block_bytes}, bytes);
    if (plan.window_tokens > 0)
      group.rings.resize(static_cast<size_t>(sequences * plan.table_blocks));
    bytes += plan.block_count * plan.block_bytes;
  }
  const int64_t half = layer_block_bytes(config, options) / 2;
  for (const auto& [mtp, window] : keepers(config, options)) {
    const size_t group = group_of(plans, window);
    int64_t& at = offsets[group];
    layers_.push_back({.mtp = mtp,
                       .group = group,
                       .store = {values_at(at), values_at(at + half), plans[group].block_bytes}});
    at += 2 * half;
  }
  slots_.resize(static_cast<size_t>(sequences));
  for (Slot& slot : slots_) slot.held.resize(groups_.size());
  for (int64_t i = sequences; i-- > 0;) free_slots_.push_back(static_cast<int>(i));
  if (!has_pages()) return;
  page_table_ = HostArray<int32_t>(sequences * groups_[0].table_blocks, stream.device());
  page_table_.assign(static_cast<size_t>(sequences * groups_[0].table_blocks), 0);
}

// The storage from there on, as many whole blocks of its type as it holds.
TensorView KvCache::values_at(int64_t byte_offset) const {
  const DTypeInfo& info = dtype_info(options_.dtype);
  const int64_t blocks = (storage_.bytes() - byte_offset) / info.block_bytes;
  return storage_.view(options_.dtype, {blocks * info.block_elements}, byte_offset);
}

int64_t KvCache::allocated_bytes() const {
  return storage_.bytes() + static_cast<int64_t>(page_table_.size() * sizeof(int32_t));
}

int64_t KvCache::kept_bytes() const {
  int64_t bytes = 0;
  for (const Group& group : groups_)
    if (group.pool.count() > 0) bytes += group.pool.kept_count() * group.blocks.dim(1);
  return bytes;
}

bool KvCache::nothing_held() const {
  return std::all_of(groups_.begin(), groups_.end(),
                     [](const Group& g) { return g.pool.free_count() == g.pool.count(); });
}

size_t KvCache::table_index(size_t group, int slot, int64_t block) const {
  const int64_t count = groups_[group].table_blocks;
  return static_cast<size_t>(slot * count + (group == 0 ? block : block % count));
}

int32_t KvCache::block_at(size_t group, int slot, int64_t block) const {
  const size_t index = table_index(group, slot, block);
  return group == 0 ? page_table_[index] : groups_[group].rings[index];
}

void KvCache::set_block(size_t group, int slot, int64_t block, int32_t id) {
  const size_t index = table_index(group, slot, block);
  (group == 0 ? page_table_[index] : groups_[group].rings[index]) = id;
}

int KvCache::open() {
  DURE_CHECK(!free_slots_.empty(), "all {} sequences are in use", options_.sequence_count_max);
  const int slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[static_cast<size_t>(slot)].used = true;
  return slot;
}

int KvCache::open(const KvSnapshot& from) {
  const int slot = open();
  Slot& s = slots_[static_cast<size_t>(slot)];
  s.length = from.tokens;
  s.mtp_length = from.tokens;
  auto id = from.blocks.begin();
  for (size_t g = 0; g < groups_.size(); ++g) {
    s.held[g] = held_by(groups_[g], from.tokens);
    for (int64_t block = s.held[g].begin; block < s.held[g].end; ++block, ++id) {
      groups_[g].pool.retain(*id, Holder::kSequence);
      set_block(g, slot, block, *id);
    }
  }
  return slot;
}

void KvCache::close(int slot) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  DURE_CHECK(s.used, "slot {}", slot);
  for (size_t g = 0; g < groups_.size(); ++g) {
    drop_from(g, slot, s.held[g].begin);
    s.held[g] = {};
  }
  s.used = false;
  s.length = 0;
  s.mtp_length = 0;
  free_slots_.push_back(slot);
}

int64_t KvCache::length(int slot) const { return slots_[static_cast<size_t>(slot)].length; }

// A free block; where there is none, one that snapshots give up. The reclaimer's snapshots may
// share what they have with sequences: more than one may have to go.
std::optional<int32_t> KvCache::take(size_t group) {
  BlockPool& pool = groups_[group].pool;
  while (pool.free_count() == 0 && reclaim_ && reclaim_()) {
  }
  return pool.take();
}

void KvCache::append_block(size_t group, int slot) {
  const std::optional<int32_t> id = take(group);
  DURE_CHECK(id, "{} blocks of window {} are not enough", groups_[group].pool.count(),
             groups_[group].window_tokens);
  Held& held = slots_[static_cast<size_t>(slot)].held[group];
  set_block(group, slot, held.end, *id);
  ++held.end;
}

// So that rows from `first_position` on may be written to it.
void KvCache::own_block(size_t group, int slot, int64_t block, int64_t first_position) {
  BlockPool& pool = groups_[group].pool;
  const int32_t old = block_at(group, slot, block);
  if (!pool.shared(old)) return;
  const std::optional<int32_t> fresh = take(group);
  DURE_CHECK(fresh || !pool.shared(old), "{} blocks of window {} are not enough", pool.count(),
             groups_[group].window_tokens);
  if (!fresh) return;
  const TensorView blocks = groups_[group].blocks;
  if (block * kB < first_position) copy_to(blocks.rows(old, 1), blocks.rows(*fresh, 1), stream_);
  set_block(group, slot, block, *fresh);
  pool.release(old, Holder::kSequence);
}

void KvCache::drop_before(size_t group, int slot, int64_t block) {
  Held& held = slots_[static_cast<size_t>(slot)].held[group];
  for (; held.begin < std::min(block, held.end); ++held.begin)
    groups_[group].pool.release(block_at(group, slot, held.begin), Holder::kSequence);
}

void KvCache::drop_from(size_t group, int slot, int64_t block) {
  Held& held = slots_[static_cast<size_t>(slot)].held[group];
  for (; held.end > std::max(block, held.begin); --held.end)
    groups_[group].pool.release(block_at(group, slot, held.end - 1), Holder::kSequence);
}

// Blocks of the sequence's own for rows [first_position, end).
void KvCache::make_room(size_t group, int slot, int64_t first_position, int64_t end) {
  const Held& held = slots_[static_cast<size_t>(slot)].held[group];
  const int64_t wanted = blocks_for(end);
  for (int64_t b = first_position / kB; b < std::min(held.end, wanted); ++b)
    own_block(group, slot, b, first_position);
  while (held.end < wanted) append_block(group, slot);
}

bool KvCache::reserve(int slot, int64_t token_count) {
  const Slot& s = slots_[static_cast<size_t>(slot)];
  const int64_t end = s.length + token_count;
  if (end > options_.context_tokens_max) return false;
  if (!has_pages()) return true;
  const BlockPool& pool = groups_[0].pool;
  const Held held = s.held[0];
  int64_t missing = std::max<int64_t>(0, blocks_for(end) - held.end);
  // One that only snapshots share is the sequence's own once they are given up.
  for (int64_t b = s.length / kB; b < std::min(held.end, blocks_for(end)); ++b)
    missing += pool.sequences(block_at(0, slot, b)) > 1 ? 1 : 0;
  if (missing > pool.available()) return false;
  make_room(0, slot, s.length, end);
  return true;
}

bool KvCache::rewind(int slot, int64_t position) {
  Slot& s = slots_[static_cast<size_t>(slot)];
  DURE_CHECK(position >= 0 && position <= s.length, "{} of {}", position, s.length);
  for (size_t g = 1; g < groups_.size(); ++g) {
    const bool seen = position > 0 && groups_[g].window_tokens > 1;
    if (seen && oldest_block(groups_[g].window_tokens, position) < s.held[g].begin) return false;
  }
  s.length = position;
  s.mtp_length = std::min(s.mtp_length, position);
  for (size_t g = 1; g < groups_.size(); ++g) drop_from(g, slot, blocks_for(position));
  return true;
}

void KvCache::trim(int slot) {
  const int64_t length = slots_[static_cast<size_t>(slot)].length;
  for (size_t g = 1; g < groups_.size(); ++g)
    drop_before(g, slot, oldest_block(groups_[g].window_tokens, length - 1));
}

KvCache::Held KvCache::held_by(const Group& group, int64_t tokens) const {
  if (group.table_blocks == 0) return {};
  return {oldest_block(group.window_tokens, tokens), blocks_for(tokens)};
}

std::optional<KvSnapshot> KvCache::snapshot(int slot, int64_t tokens) {
  const Slot& s = slots_[static_cast<size_t>(slot)];
  DURE_CHECK(tokens > 0 && tokens <= s.length, "{} of {}", tokens, s.length);
  if (options_.draft_tokens_max > 0 && tokens > s.mtp_length) return std::nullopt;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const Held wanted = held_by(groups_[g], tokens);
    if (wanted.begin < s.held[g].begin || wanted.end > s.held[g].end) return std::nullopt;
  }
  KvSnapshot out{.tokens = tokens};
  size_t count = 0;
  for (const Group& group : groups_) {
    const Held wanted = held_by(group, tokens);
    count += static_cast<size_t>(wanted.end - wanted.begin);
  }
  out.blocks.reserve(count);  // The last that may throw.
  for (size_t g = 0; g < groups_.size(); ++g) {
    const Held wanted = held_by(groups_[g], tokens);
    for (int64_t block = wanted.begin; block < wanted.end; ++block) {
      out.blocks.push_back(block_at(g, slot, block));
      groups_[g].pool.retain(out.blocks.back(), Holder::kSnapshot);
    }
  }
  return out;
}

void KvCache::close(KvSnapshot& snapshot) {
  auto id = snapshot.blocks.begin();
  for (Group& group : groups_) {
    const Held held = held_by(group, snapshot.tokens);
    for (int64_t block = held.begin; block < held.end; ++block, ++id)
      group.pool.release(*id, Holder::kSnapshot);
  }
  snapshot = {};
}

// Full pages that a sequence holds already are not taken from anybody.
int64_t KvCache::pages_wanted(const KvSnapshot* from, int64_t tokens) const {
  if (!has_pages()) return 0;
  int64_t wanted = blocks_for(tokens);
  const int64_t full = from != nullptr ? from->tokens / kB : 0;
  for (int64_t page = 0; page < full; ++page)
    wanted -= groups_[0].pool.sequences(from->blocks[static_cast<size_t>(page)]) > 0 ? 1 : 0;
  return wanted;
}

KvCache::BlockKind KvCache::kind(int64_t group) const {
  const Group& g = groups_[static_cast<size_t>(group)];
  return {g.window_tokens, g.blocks.dim(1), g.pool.count(), g.pool.free_count()};
}

int64_t KvCache::snapshot_blocks(int64_t group, int64_t tokens) const {
  const Held held = held_by(groups_[static_cast<size_t>(group)], tokens);
  return held.end - held.begin;
}

std::span<const uint8_t> KvCache::read_block(int64_t group, int32_t block) {
  const TensorView row = groups_[static_cast<size_t>(group)].blocks.rows(block, 1);
  if (stream_.device() != Device::kCpu) block_copy_ = {row.bytes(), stream_.device()};
  return block_copy_.of(row, stream_);
}

std::optional<int32_t> KvCache::write_block(int64_t group, std::span<const uint8_t> bytes) {
  Group& g = groups_[static_cast<size_t>(group)];
  const std::optional<int32_t> block = g.pool.take();
  if (!block) return std::nullopt;
  copy_from_host(bytes, g.blocks.rows(*block, 1), stream_);
  g.pool.retain(*block, Holder::kSnapshot);
  g.pool.release(*block, Holder::kSequence);
  return block;
}

void KvCache::release_block(int64_t group, int32_t block) {
  groups_[static_cast<size_t>(group)].pool.release(block, Holder::kSnapshot);
}

KvSnapshot KvCache::snapshot_of(int64_t tokens, std::vector<int32_t> blocks) {
  size_t at = 0;
  for (Group& group : groups_) {
    const Held held = held_by(group, tokens);
    for (int64_t i = held.begin; i < held.end; ++i, ++at)
      group.pool.retain(blocks[at], Holder::kSnapshot);
  }
  DURE_CHECK(at == blocks.size(), "{} blocks for a snapshot of {} tokens", blocks.size(), tokens);
  return {tokens, std::move(blocks)};
}

BatchKv::BatchKv(KvCache& cache, Rows rows)
    : cache_(cache), rows_(rows), groups_(cache.groups_.size()) {
  const KvCacheOptions& o = cache.options_;
  const int64_t sequences = o.sequence_count_max, most = sequences * o.append_tokens_max,
                row_count = o.rows_max > 0 ? std::min(o.rows_max, most) : most;
  const Device device = cache.storage_.device();
  runs_.reserve(static_cast<size_t>(sequences));
  segments_.reserve(static_cast<size_t>(sequences));
  for (size_t g = 0; g < groups_.size(); ++g) {
    groups_[g].places = HostArray<int64_t>(row_count, device);
    if (g > 0)
      groups_[g].rings = HostArray<int32_t>(sequences * cache.groups_[g].table_blocks, device);
    groups_[g].first_blocks.reserve(static_cast<size_t>(sequences));
  }
}

// Blocks for a run's rows, after those that its window has passed. Those of the model's next rows
// stay while the MTP layer goes ahead. Pages are there (reserve()).
void BatchKv::add_run(const Run& run) {
  KvCache::Slot& slot = cache_.slots_[static_cast<size_t>(run.slot)];
  const int64_t first = run.first_position, end = first + run.row_count;
  DURE_CHECK(run.row_count >= 1 && run.row_count <= cache_.options_.append_tokens_max, "{} rows",
             run.row_count);
  DURE_CHECK(slot.used && first <= length_of(slot) && end <= cache_.options_.context_tokens_max,
             "{} at {}", run.row_count, first);
  for (size_t g = 1; g < groups_.size(); ++g) {
    if (rows_ == Rows::kModel)
      cache_.drop_before(g, run.slot, oldest_block(cache_.groups_[g].window_tokens, first - 1));
    cache_.make_room(g, run.slot, first, end);
  }
  if (!cache_.has_pages()) return;
  DURE_CHECK(blocks_for(end) <= slot.held[0].end, "rows up to {} are not reserved", end);
  for (int64_t block = first / kB; block * kB < end; ++block) {
    DURE_CHECK(!cache_.groups_[0].pool.shared(cache_.block_at(0, run.slot, block)),
               "page {} is shared: not reserved since a snapshot was taken", block);
  }
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
  if (kind.table_blocks == 0) return;
  GroupRows& out = groups_[group];
  out.places.clear();
  out.rings.clear();
  out.first_blocks.clear();
  for (const Run& run : runs_) {
    const int64_t end = run.first_position + run.row_count;
    for (int64_t p = run.first_position; p < end; ++p)
      out.places.push_back(cache_.block_at(group, run.slot, p / kB) * kB + p % kB);
    const int64_t first = oldest_block(kind.window_tokens, run.first_position);
    out.first_blocks.push_back(first);
    if (group == 0) continue;
    // Filled up with the last: tables are of one length.
    for (int64_t i = 0; i < kind.table_blocks; ++i)
      out.rings.push_back(
          cache_.block_at(group, run.slot, std::min(first + i, blocks_for(end) - 1)));
  }
  out.places_there = out.places.on(stream);
  out.blocks_there = group > 0 ? out.rings.on(stream) : cache_.page_table_.on(stream);
}

void BatchKv::append(int64_t layer_index, ConstTensorView k, ConstTensorView v, Stream& stream) {
  const KvCache::LayerStore& layer = cache_.layers_[static_cast<size_t>(layer_index)];
  store_kv(layer.store, groups_[layer.group].places_there, k, v, stream);
}

ConstTensorView BatchKv::blocks_of(size_t group, size_t run) const {
  const int64_t count = cache_.groups_[group].table_blocks;
  return groups_[group].blocks_there.rows(
      (group > 0 ? static_cast<int64_t>(run) : runs_[run].slot) * count, count);
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
    length_of(cache_.slots_[static_cast<size_t>(run.slot)]) = run.first_position + run.row_count;
  }
}

}  // namespace dure
