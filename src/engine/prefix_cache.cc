// Points at which a sequence leaves snapshots, and who waits for them.
#include "engine/prefix_cache.h"

#include <algorithm>
#include <new>

namespace dure {

PrefixCache::PrefixCache(const GeneratorOptions& options, KvCache& cache)
    : options_(options),
      cache_(cache),
      index_(cache, cache.options().draft_tokens_max > 0 ? 1 : 0) {
  tokens_.reserve(static_cast<size_t>(options.context_tokens_max));
}

std::span<const int32_t> PrefixCache::tokens_of(const Sequence& s, int64_t count) {
  tokens_.clear();
  for (const auto& part :
       {std::span<const int32_t>(s.request.prompt), std::span<const int32_t>(s.result.tokens)}) {
    const auto room = static_cast<size_t>(count) - tokens_.size();
    tokens_.insert(tokens_.end(), part.begin(),
                   part.begin() + static_cast<int64_t>(std::min(room, part.size())));
  }
  return tokens_;
}

// The newest token is run for its logits. One that decodes with the MTP layer makes the row before
// it again, too: that gives the drafts which it would have had.
int64_t PrefixCache::start_max(const Sequence& s) const {
  const bool drafts = cache_.options().draft_tokens_max > 0 && s.new_count() > 0;
  return s.token_count() - (drafts ? 2 : 1);
}

PrefixIndex::Match PrefixCache::match(const Sequence& s) {
  return index_.longest(tokens_of(s, s.token_count()), start_max(s), s.request.prefix_salt);
}

int64_t PrefixCache::pages_wanted(const Sequence& s, int64_t tokens) {
  return cache_.pages_wanted(match(s).snapshot, tokens);
}

void PrefixCache::open(Sequence& s) {
  const PrefixIndex::Match found = match(s);
  s.slot = found.snapshot != nullptr ? cache_.open(*found.snapshot) : cache_.open();
  s.fed = found.tokens;
  s.kept = found.tokens;
  s.gone_by = found.tokens;
  s.outdated = false;
  s.waits_for.reset();
  if (s.lost == 0) s.result.cached_tokens = found.tokens;
  hits_ += found.tokens > 0 ? 1 : 0;
  hit_tokens_ += found.tokens;
  const int64_t parts = std::min(found.common_tokens - index_.key_tokens(0), start_max(s));
  if (parts <= found.tokens) return;
  replayed_tokens_ += parts - found.tokens;
  s.points.push_back(parts);
}

namespace {

int64_t common_prompt(const Sequence& a, const Sequence& b) {
  const std::vector<int32_t>&x = a.request.prompt, &y = b.request.prompt;
  return std::mismatch(x.begin(), x.begin() + std::min(std::ssize(x), std::ssize(y)), y.begin())
             .first -
         x.begin();
}

// False where the host has no memory.
bool ask_for(Sequence& s, int64_t point) {
  if (std::find(s.points.begin(), s.points.end(), point) != s.points.end()) return true;
  try {
    s.points.push_back(point);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

}  // namespace

bool PrefixCache::waits(Sequence& s, std::list<Sequence>& running) {
  if (s.lost > 0 || s.passed_by >= options_.sequences_max) return false;
  if (s.waits_for) {
    for (const Sequence& r : running) {
      if (r.id == *s.waits_for && r.fed < s.wait_until) return true;
    }
    s.waits_for.reset();
  }
  Sequence* best = nullptr;
  int64_t most = match(s).tokens + options_.prefix.tokens_min - 1;
  for (Sequence& r : running) {
    if (r.request.prefix_salt != s.request.prefix_salt || r.new_count() > 0 || r.outdated) continue;
    const int64_t parts = std::min(common_prompt(s, r) - index_.key_tokens(0), start_max(s));
    if (parts <= most || parts <= r.fed || parts > start_max(r)) continue;
    best = &r;
    most = parts;
  }
  if (best == nullptr) return false;
  if (!ask_for(*best, most)) return false;
  s.waits_for = best->id;
  s.wait_until = most;
  ++waits_;
  return true;
}

// The next place after those that are gone by.
int64_t PrefixCache::next_point(const Sequence& s) const {
  const int64_t stride = options_.prefix.stride_tokens;
  int64_t next = (s.gone_by / stride + 1) * stride;
  const auto consider = [&](int64_t point) {
    if (point > s.gone_by) next = std::min(next, point);
  };
  consider(s.prompt_count() - 1);
  for (const int64_t point : s.points) consider(point);
  return next;
}

void PrefixCache::go_by(Sequence& s) {
  for (int64_t point = next_point(s); point <= s.kept; point = next_point(s)) {
    s.gone_by = point;
    take(s, point);
  }
}

void PrefixCache::leave(Sequence& s) {
  if (s.slot < 0) return;
  go_by(s);
  take(s, s.kept);
}

void PrefixCache::take(const Sequence& s, int64_t tokens) {
  if (tokens < options_.prefix.tokens_min || s.outdated) return;
  try {
    const auto ids = tokens_of(s, index_.key_tokens(tokens));
    if (index_.holds(ids, tokens, s.request.prefix_salt)) return;
    if (auto snapshot = cache_.snapshot(s.slot, tokens))
      index_.insert(ids, std::move(*snapshot), s.request.prefix_salt);
  } catch (const std::bad_alloc&) {
    // Then it is not kept.
  }
}

void PrefixCache::clear(std::list<Sequence>& running) {
  for (Sequence& s : running) s.outdated = true;
  index_.clear();
}

void PrefixCache::fill(GeneratorStatistics& out) const {
  out.prefix_hits = hits_;
  out.prefix_tokens = hit_tokens_;
  out.prefix_replayed_tokens = replayed_tokens_;
  out.prefix_waits = waits_;
  out.prefix_evictions = index_.eviction_count();
  out.prefixes = index_.snapshot_count();
  out.prefix_bytes = cache_.kept_bytes();
}

}  // namespace dure
