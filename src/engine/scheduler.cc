// Three lists, and nodes that move between them.
#include "engine/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace dure {
namespace {

int64_t pages_for(int64_t tokens) { return (tokens + KvView::kTokens - 1) / KvView::kTokens; }

}  // namespace

Scheduler::Scheduler(const ModelConfig& config, const GeneratorOptions& options, KvCache& cache,
                     PrefixCache* prefixes)
    : options_(options),
      cache_(cache),
      prefixes_(prefixes),
      page_count_(kv_cache_plan(config, kv_cache_options(options)).page_count) {}

void Scheduler::check_room(int64_t prompt_tokens, int64_t new_tokens_max) const {
  const int64_t tokens = prompt_tokens + new_tokens_max;
  if (tokens > options_.context_tokens_max) {
    fail(ErrorCode::kInvalidArgument,
         "{} prompt tokens and {} new ones exceed the context of {}; shorten one, or raise the "
         "context",
         prompt_tokens, new_tokens_max, options_.context_tokens_max);
  }
  if (page_count_ == 0 || pages_for(tokens) <= page_count_) return;
  fail(ErrorCode::kInvalidArgument,
       "{} prompt tokens and {} new ones exceed the cache of {} tokens; shorten one, or give the "
       "cache more memory",
       prompt_tokens, new_tokens_max, page_count_ * KvView::kTokens);
}

Sequence& Scheduler::add(GenerationRequest request) {
  std::list<Sequence> one;
  Sequence& s = one.emplace_back();
  s.id = next_id_;
  s.request = std::move(request);
  s.start();
  entries_[s.id] = {one.begin(), &waiting_};
  waiting_.splice(waiting_.end(), one);
  waiting_tokens_ += s.token_count();
  ++next_id_;
  return s;
}

Sequence* Scheduler::find(int64_t id) {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : &*found->second.place;
}

Generation Scheduler::take(int64_t id) {
  const auto found = entries_.find(id);
  DURE_CHECK(found != entries_.end() && found->second.list == &ended_, "request {} has not ended",
             id);
  Generation result = std::move(found->second.place->result);
  ended_.erase(found->second.place);
  entries_.erase(found);
  return result;
}

// By arrival, wherever that is: one that was preempted is older than those behind it.
void Scheduler::move(Sequence& s, std::list<Sequence>& to) {
  Entry& entry = entries_.find(s.id)->second;
  auto before = to.end();
  while (&to != &ended_ && before != to.begin() && std::prev(before)->id > s.id) --before;
  to.splice(before, *entry.list, entry.place);
  if (entry.list == &waiting_) waiting_tokens_ -= s.token_count();
  if (&to == &waiting_) waiting_tokens_ += s.token_count();
  entry.list = &to;
}

void Scheduler::release(Sequence& s) {
  s.drop_drafts();
  if (s.slot >= 0) cache_.close(s.slot);
  s.slot = -1;
}

// The MTP layer writes the rows of all drafts but the last before the model sees them.
int64_t Scheduler::rows_end(const Sequence& s, int64_t end) const {
  const int64_t ahead = std::max<int64_t>(0, cache_.options().draft_tokens_max - 1);
  return std::min(end + ahead, s.token_count_max());
}

// One page stays free for each that runs and will need another, or the newcomer would be out again
// at once.
bool Scheduler::has_room(const Sequence& s) const {
  if (page_count_ == 0 || running_.empty()) return true;
  const int64_t end = rows_end(s, s.token_count()),
                pages = prefixes_ != nullptr ? prefixes_->pages_wanted(s, end) : pages_for(end);
  const auto growing = std::count_if(running_.begin(), running_.end(), [&](const Sequence& r) {
    return pages_for(rows_end(r, r.token_count())) < pages_for(r.token_count_max());
  });
  return cache_.free_pages() - pages >= growing;
}

// In order: a later, smaller request does not overtake, but those that wait for what another reads
// may be passed. So many are looked at.
Sequence* Scheduler::next() {
  if (cache_.free_sequences() == 0) return nullptr;
  int64_t looks = std::max<int64_t>(64, 2 * options_.sequences_max);
  for (auto it = waiting_.begin(); it != waiting_.end() && looks > 0; ++it, --looks) {
    if (prefixes_ != nullptr && prefixes_->waits(*it, running_)) continue;
    if (!has_room(*it)) return nullptr;
    for (auto passed = waiting_.begin(); passed != it; ++passed) ++passed->passed_by;
    return &*it;
  }
  return nullptr;
}

void Scheduler::admit(Sequence& s) {
  const auto tokens = static_cast<size_t>(s.request.new_tokens_max);
  s.result.tokens.reserve(tokens);
  s.result.log_probabilities.reserve(tokens);
  s.result.top.reserve(tokens * static_cast<size_t>(s.request.top_count));
  s.drafts.reserve(static_cast<size_t>(options_.draft_tokens_max));
  if (prefixes_ != nullptr) {
    prefixes_->open(s);
  } else {
    s.slot = cache_.open();
    s.fed = 0;
  }
  replayed_tokens_ += std::max<int64_t>(0, s.lost - s.fed);
  const int64_t end = rows_end(s, s.token_count());
  const bool reserved = cache_.reserve(s.slot, end - s.fed);
  DURE_CHECK(reserved, "{} tokens have no room", end);
  move(s, running_);
}

bool Scheduler::make_room(Sequence& s, int64_t end) {
  while (!cache_.reserve(s.slot, rows_end(s, end) - cache_.length(s.slot))) {
    Sequence& youngest = running_.back();
    preempt(youngest);
    if (&youngest == &s) return false;
  }
  return true;
}

void Scheduler::preempt(Sequence& s) {
  ++preemptions_;
  s.lost = s.fed;
  if (prefixes_ != nullptr) prefixes_->leave(s);
  release(s);
  s.fed = 0;
  move(s, waiting_);
}

void Scheduler::end(Sequence& s, FinishReason why) {
  if (prefixes_ != nullptr && why != FinishReason::kError) prefixes_->leave(s);
  release(s);
  s.result.finish = why;
  s.result.top.resize(s.result.tokens.size() * static_cast<size_t>(s.request.top_count));
  move(s, ended_);
}

void Scheduler::fill(GeneratorStatistics& out) const {
  out.running = std::ssize(running_);
  out.waiting = std::ssize(waiting_);
  out.waiting_tokens = waiting_tokens_;
  out.page_count = page_count_;
  out.pages_used = page_count_ > 0 ? page_count_ - cache_.free_pages() : 0;
  out.preemptions = preemptions_;
  out.replayed_tokens = replayed_tokens_;
}

}  // namespace dure
