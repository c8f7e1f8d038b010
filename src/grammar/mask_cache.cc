// A view is made by one walk over a tree of strings, side by side with the grammar; the
// vocabulary's tree for a state, what is left of the tokens for the nodes above it.
#include "grammar/mask_cache.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"

namespace dure {
namespace {

bool has_bit(std::span<const uint64_t> mask, int32_t token) {
  const auto t = static_cast<size_t>(token);
  return (mask[t / 64] >> (t % 64) & 1) != 0;
}

void set_bit(std::span<uint64_t> mask, int32_t token) {
  const auto t = static_cast<size_t>(token);
  mask[t / 64] |= uint64_t{1} << (t % 64);
}

// One walk: tokens that end while the grammar lives, and the nodes at which it was complete.
struct WalkResult {
  std::vector<int32_t> tokens;
  std::vector<uint64_t> inside;  // the same as bits
  std::vector<TokenBytes> rest;  // of tokens that end outside
};

}  // namespace

size_t MaskCache::PlacesHash::operator()(const Places& p) const {
  const std::string_view bytes(reinterpret_cast<const char*>(p.all.data()),
                               p.all.size() * sizeof(Place));
  return static_cast<size_t>(xxh64(bytes, p.complete ? 1 : 0));
}

void MaskCache::TokenSet::add_to(std::span<uint64_t> mask) const {
  for (const int32_t token : few) set_bit(mask, token);
  if (many == nullptr) return;
  for (size_t i = 0; i < mask.size(); ++i) mask[i] |= (*many)[i];
}

MaskCache::MaskCache(std::shared_ptr<const Grammar> grammar,
                     std::shared_ptr<const TokenVocabulary> vocabulary, int64_t bytes_max)
    : grammar_(std::move(grammar)),
      vocabulary_(std::move(vocabulary)),
      bytes_max_(bytes_max),
      walker_(*grammar_, stacks_) {}

void MaskCache::fill(const Places& places, const StackArena& stacks, std::span<uint64_t> mask) {
  DURE_CHECK_EQ(static_cast<int64_t>(mask.size()), vocabulary_->mask_words());
  const std::lock_guard<std::mutex> lock(mutex_);
  if (bytes_ > bytes_max_) forget();
  for (const Place& place : places.all) add_place(place, stacks, mask);
}

void MaskCache::add_place(const Place& place, const StackArena& stacks, std::span<uint64_t> mask) {
  std::unique_ptr<View>& root = roots_[place.state];
  if (root == nullptr)
    root = make_view({.all = {{place.state, StackArena::kBottom}}}, vocabulary_->trie());
  const View* view = root.get();
  view->tokens.add_to(mask);
  for (int32_t at = place.stack; view->rest != nullptr && at != StackArena::kBottom;
       at = stacks.parent(at)) {
    const NodeId node = stacks.node(at);
    std::unique_ptr<View>& above = const_cast<View*>(view)->above[node];
    if (above == nullptr)
      above = make_view(walker_.from_node(node, StackArena::kBottom), *view->rest);
    view = above.get();
    view->tokens.add_to(mask);
  }
}

std::unique_ptr<MaskCache::View> MaskCache::make_view(Places from, const TokenTrie& trie) {
  WalkResult result;
  result.inside.assign(static_cast<size_t>(vocabulary_->mask_words()), 0);
  std::vector<size_t> leaves;  // nodes of the tree at which the grammar may leave
  std::vector<int32_t> path(static_cast<size_t>(trie.depth_max()) + 1, kDead);
  const bool complete = from.complete;
  path[0] = id_of(std::move(from));
  const auto nodes = trie.nodes();
  for (size_t i = 0; i < nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const int32_t known = next(path[node.depth - 1u], node.byte);
    if (known == kDead) {
      i = node.next;
      continue;
    }
    path[node.depth] = known;
    for (const TokenBytes& t : trie.tokens_at(i)) {
      result.tokens.push_back(t.id);
      set_bit(result.inside, t.id);
    }
    if (known_[static_cast<size_t>(known)]->places.complete) leaves.push_back(i);
    ++i;
  }
  const auto leave = [&](const TokenBytes& t, size_t length) {
    if (!has_bit(result.inside, t.id)) result.rest.push_back({t.bytes.substr(length), t.id});
  };
  if (complete)
    for (const TokenBytes& t : trie.tokens()) leave(t, 0);
  for (const size_t i : leaves)
    for (const TokenBytes& t : trie.tokens_below(i)) leave(t, nodes[i].depth);

  auto view = std::make_unique<View>();
  view->tokens = make_set(std::move(result.tokens));
  if (!result.rest.empty()) {
    view->rest = std::make_unique<TokenTrie>(std::move(result.rest));
    bytes_ += view->rest->size_bytes();
  }
  bytes_ += static_cast<int64_t>(sizeof(View)) + 64;
  ++view_count_;
  return view;
}

MaskCache::TokenSet MaskCache::make_set(std::vector<int32_t> tokens) {
  TokenSet set;
  const auto words = static_cast<size_t>(vocabulary_->mask_words());
  if (tokens.size() < words / 4) {
    bytes_ += static_cast<int64_t>(tokens.size() * sizeof(int32_t));
    tokens.shrink_to_fit();
    set.few = std::move(tokens);
    return set;
  }
  auto bits = std::make_shared<std::vector<uint64_t>>(words, 0);
  for (const int32_t token : tokens) set_bit(*bits, token);
  const std::string_view key(reinterpret_cast<const char*>(bits->data()), words * sizeof(uint64_t));
  auto& equals = sets_[xxh64(key)];
  for (const auto& other : equals)
    if (*other == *bits) set.many = other;
  if (set.many == nullptr) {
    set.many = std::move(bits);
    equals.push_back(set.many);
    bytes_ += static_cast<int64_t>(words * sizeof(uint64_t));
  }
  return set;
}

int32_t MaskCache::id_of(Places places) {
  const auto found = known_ids_.find(places);
  if (found != known_ids_.end()) return found->second;
  const auto id = static_cast<int32_t>(known_.size());
  auto known = std::make_unique<Known>();
  known->places = places;
  known->next.fill(kUnknown);
  bytes_ += static_cast<int64_t>(sizeof(Known) + 2 * places.all.size() * sizeof(Place) + 64);
  known_.push_back(std::move(known));
  known_ids_.emplace(std::move(places), id);
  return id;
}

int32_t MaskCache::next(int32_t known, uint8_t byte) {
  const int32_t there = known_[static_cast<size_t>(known)]->next[byte];
  if (there != kUnknown) return there;
  Places to;
  walker_.step(known_[static_cast<size_t>(known)]->places, byte, to);
  const int32_t id = to.dead() ? kDead : id_of(std::move(to));
  return known_[static_cast<size_t>(known)]->next[byte] = id;
}

void MaskCache::forget() {
  roots_.clear();
  sets_.clear();
  known_.clear();
  known_ids_.clear();
  stacks_.clear();
  bytes_ = 0;
  view_count_ = 0;
}

}  // namespace dure
