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

bool same_tree(const TokenTrie* a, const TokenTrie* b) {
  if (a == nullptr || b == nullptr) return a == b;
  const auto x = a->tokens(), y = b->tokens();
  return std::equal(
      x.begin(), x.end(), y.begin(), y.end(),
      [](const TokenBytes& s, const TokenBytes& t) { return s.id == t.id && s.bytes == t.bytes; });
}

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
      walker_(*grammar_, stacks_),
      follow_(*grammar_) {}

int64_t MaskCache::cached_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return held_bytes();
}

int64_t MaskCache::view_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return view_count_;
}

void MaskCache::fill(const Places& places, const StackArena& stacks, std::span<uint64_t> mask) {
  DURE_CHECK_EQ(static_cast<int64_t>(mask.size()), vocabulary_->mask_words());
  const std::lock_guard<std::mutex> lock(mutex_);
  if (held_bytes() > bytes_max_) forget();
  for (const Place& place : places.all) add_place(place, stacks, mask);
}

void MaskCache::add_place(const Place& place, const StackArena& stacks, std::span<uint64_t> mask) {
  View*& root = roots_[place.state];
  if (root == nullptr)
    root = make_view({.all = {{place.state, StackArena::kBottom}}}, follow_.from_state(place.state),
                     vocabulary_->trie());
  View* view = root;
  view->tokens.add_to(mask);
  for (int32_t at = place.stack; view->rest != nullptr && at != StackArena::kBottom;
       at = stacks.parent(at)) {
    const NodeId node = stacks.node(at);
    View*& above = view->above[node];
    if (above == nullptr)
      above = make_view(walker_.from_node(node, StackArena::kBottom), follow_.from_node(node),
                        *view->rest);
    view = above;
    view->tokens.add_to(mask);
  }
}

// Tokens that end while the grammar lives are settled. Those that live on only in a caller are kept
// by what is left of them, at every node at which the grammar was complete.
class MaskCache::ViewMaker {
 public:
  ViewMaker(MaskCache& cache, const TokenTrie& trie) : cache_(cache), trie_(trie) {
    path_.resize(static_cast<size_t>(trie.depth_max()) + 1);
    inside_.assign(static_cast<size_t>(cache.vocabulary_->mask_words()), 0);
  }

  std::unique_ptr<View> make(Places from, int32_t loose) {
    path_[0].complete = from.complete;
    path_[0].left = from.complete;
    path_[0].known = cache_.id_of(std::move(from));
    path_[0].loose = loose;
    const auto nodes = trie_.nodes();
    for (size_t i = 0; i < nodes.size();) i = step(nodes[i]) ? read(i) : nodes[i].next;
    auto view = std::make_unique<View>();
    view->tokens = cache_.make_set(std::move(tokens_));
    std::erase_if(rest_, [&](const TokenBytes& t) { return has_bit(inside_, t.id); });
    if (!rest_.empty()) view->rest = std::make_unique<TokenTrie>(std::move(rest_));
    return view;
  }

 private:
  static constexpr int32_t kLater = -3;  // Found when it is asked for.
  struct At {
    int32_t known = kDead, loose = FollowWalk::kDead;
    uint8_t byte = 0;
    bool complete = false, left = false;  // left: complete here or on the way here
  };

  // Until the grammar may be left, what dies in it is dead; most nodes need no second look.
  bool step(const TokenTrie::Node& node) {
    const At& from = path_[node.depth - 1u];
    At& to = path_[node.depth];
    to.byte = node.byte;
    to.known = from.known == kDead ? kDead : cache_.next(from.known, node.byte);
    to.complete =
        to.known != kDead && cache_.known_[static_cast<size_t>(to.known)]->places.complete;
    to.left = from.left || to.complete;
    to.loose = kLater;
    return to.known != kDead || (from.left && loose(node.depth) != FollowWalk::kDead);
  }
  int32_t loose(size_t depth) {
    At& at = path_[depth];
    if (at.loose == kLater) {
      const int32_t from = loose(depth - 1);
      at.loose = from == FollowWalk::kDead ? from : cache_.follow_.next(from, at.byte);
    }
    return at.loose;
  }
  // The tokens that end here; the next node.
  size_t read(size_t i) {
    const size_t depth = trie_.nodes()[i].depth;
    const bool inside = path_[depth].known != kDead;
    for (const TokenBytes& t : trie_.tokens_at(i)) {
      if (!inside) {
        leave(t, depth);
        continue;
      }
      tokens_.push_back(t.id);
      set_bit(inside_, t.id);
    }
    return i + 1;
  }
  void leave(const TokenBytes& t, size_t depth) {
    for (size_t at = 0; at < depth; ++at)
      if (path_[at].complete) rest_.push_back({t.bytes.substr(at), t.id});
  }

  MaskCache& cache_;
  const TokenTrie& trie_;
  std::vector<At> path_;  // by depth
  std::vector<int32_t> tokens_;
  std::vector<uint64_t> inside_;  // the same as bits
  std::vector<TokenBytes> rest_;
};

MaskCache::View* MaskCache::make_view(Places from, int32_t loose, const TokenTrie& trie) {
  return shared(ViewMaker(*this, trie).make(std::move(from), loose));
}

// The view kept already that holds the same: states that no token tells apart are many (places in a
// long string).
MaskCache::View* MaskCache::shared(std::unique_ptr<View> view) {
  const auto bytes_of = [](const auto& list) {
    return std::string_view(reinterpret_cast<const char*>(list.data()),
                            list.size() * sizeof(list[0]));
  };
  const TokenSet& tokens = view->tokens;
  uint64_t hash = xxh64(bytes_of(tokens.few), reinterpret_cast<uintptr_t>(tokens.many.get()));
  if (view->rest != nullptr)
    for (const TokenBytes& t : view->rest->tokens())
      hash = xxh64(t.bytes, hash + static_cast<uint64_t>(t.id));
  const auto [first, last] = views_.equal_range(hash);
  for (auto i = first; i != last; ++i)
    if (i->second->tokens == tokens && same_tree(i->second->rest.get(), view->rest.get()))
      return i->second.get();
  if (view->rest != nullptr) bytes_ += view->rest->size_bytes();
  bytes_ += static_cast<int64_t>(sizeof(View) + tokens.few.size() * sizeof(int32_t)) + 128;
  ++view_count_;
  return views_.emplace(hash, std::move(view))->second.get();
}

MaskCache::TokenSet MaskCache::make_set(std::vector<int32_t> tokens) {
  TokenSet set;
  const auto words = static_cast<size_t>(vocabulary_->mask_words());
  if (tokens.size() < words / 4) {
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
  views_.clear();
  sets_.clear();
  known_.clear();
  known_ids_.clear();
  follow_.forget();
  stacks_.clear();
  bytes_ = 0;
  view_count_ = 0;
}

}  // namespace dure
