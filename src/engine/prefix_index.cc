// A walk from the root by blocks; then what hangs on the way back.
#include "engine/prefix_index.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"

namespace dure {
namespace {

constexpr int64_t kB = KvView::kTokens;
using Ids = std::span<const int32_t>;

Ids block_of(Ids ids, int64_t block) {
  return ids.subspan(static_cast<size_t>(block * kB), static_cast<size_t>(kB));
}

uint64_t hash_of(Ids block, uint64_t parent) {
  return xxh64({reinterpret_cast<const char*>(block.data()), block.size_bytes()}, parent);
}

Ids after(Ids ids, int64_t blocks) { return ids.subspan(static_cast<size_t>(blocks * kB)); }

int64_t common_prefix(Ids a, Ids b) {
  return std::mismatch(a.begin(), a.begin() + std::min(std::ssize(a), std::ssize(b)), b.begin())
             .first -
         a.begin();
}

bool begins_with(Ids ids, Ids with) { return common_prefix(ids, with) == std::ssize(with); }

}  // namespace

PrefixIndex::PrefixIndex(KvCache& cache, int64_t key_tokens_ahead)
    : cache_(cache), ahead_(key_tokens_ahead) {
  cache.set_reclaimer([this] { return reclaim(); });
}

PrefixIndex::~PrefixIndex() {
  clear();
  cache_.set_reclaimer(nullptr);
}

PrefixIndex::Node* PrefixIndex::root(uint64_t salt) const {
  const auto found = roots_.find(salt);
  return found == roots_.end() ? nullptr : found->second.get();
}

PrefixIndex::Node* PrefixIndex::child(const Node& node, Ids block) const {
  const auto [first, last] = nodes_.equal_range(hash_of(block, node.hash));
  for (auto it = first; it != last; ++it) {
    Node& found = *it->second;
    if (found.parent == &node && std::ranges::equal(found.tokens, block)) return &found;
  }
  return nullptr;
}

// The node of the key's whole blocks, made where it is not there.
PrefixIndex::Node* PrefixIndex::node_for(Ids key, uint64_t salt) {
  std::unique_ptr<Node>& root = roots_[salt];
  if (!root) root = std::make_unique<Node>(Node{.salt = salt, .hash = salt});
  Node* node = root.get();
  for (int64_t b = 0; b < std::ssize(key) / kB; ++b) {
    const Ids block = block_of(key, b);
    if (Node* there = child(*node, block)) {
      node = there;
      continue;
    }
    node->children.reserve(node->children.size() + 1);
    auto made = std::make_unique<Node>(
        Node{.parent = node, .salt = salt, .hash = hash_of(block, node->hash), .depth = b + 1});
    std::ranges::copy(block, made->tokens.begin());
    Node* const added = made.get();
    nodes_.emplace(added->hash, std::move(made));
    node->children.push_back(added);
    node = added;
  }
  return node;
}

PrefixIndex::Node* PrefixIndex::deepest(Ids ids, uint64_t salt) const {
  Node* node = root(salt);
  while (node != nullptr && (node->depth + 1) * kB <= std::ssize(ids)) {
    Node* next = child(*node, block_of(ids, node->depth));
    if (next == nullptr) break;
    node = next;
  }
  return node;
}

// Tokens in common with what hangs on a node, and with the blocks after it.
int64_t PrefixIndex::common_after(const Node& node, Ids ids) const {
  const Ids rest = after(ids, node.depth);
  int64_t common = 0;
  for (const Place entry : node.entries)
    common = std::max(common, common_prefix(rest, entry->tail));
  for (const Node* next : node.children)
    common = std::max(common, common_prefix(rest, next->tokens));
  return node.depth * kB + common;
}

// To the end of the list, the shortest last.
void PrefixIndex::touch(const Node& deepest, Ids ids) {
  for (const Node* node = &deepest; node != nullptr; node = node->parent) {
    const Ids rest = after(ids, node->depth);
    for (const Place entry : node->entries) {
      if (begins_with(rest, entry->tail)) entries_.splice(entries_.end(), entries_, entry);
    }
  }
}

PrefixIndex::Match PrefixIndex::longest(Ids ids, int64_t tokens_max, uint64_t salt) {
  Match out;
  Node* const last = deepest(ids, salt);
  if (last == nullptr) return out;
  for (const Node* node = last; node != nullptr && out.snapshot == nullptr; node = node->parent) {
    const Ids rest = after(ids, node->depth);
    for (const Place entry : node->entries) {
      const KvSnapshot& there = entry->snapshot;
      if (there.tokens <= tokens_max && there.tokens > out.tokens &&
          begins_with(rest, entry->tail)) {
        out.snapshot = &there;
        out.tokens = there.tokens;
      }
    }
  }
  out.common_tokens = common_after(*last, ids);
  touch(*last, ids);
  return out;
}

bool PrefixIndex::holds(Ids ids, int64_t tokens, uint64_t salt) const {
  const Ids key = ids.first(static_cast<size_t>(key_tokens(tokens)));
  const Node* node = deepest(key, salt);
  if (node == nullptr || node->depth != std::ssize(key) / kB) return false;
  return std::ranges::any_of(node->entries, [&](const Place entry) {
    return std::ranges::equal(entry->tail, after(key, node->depth));
  });
}

void PrefixIndex::insert(Ids ids, KvSnapshot snapshot, uint64_t salt) {
  DURE_CHECK(key_tokens(snapshot.tokens) <= std::ssize(ids), "{} tokens for a snapshot of {}",
             ids.size(), snapshot.tokens);
  const Ids key = ids.first(static_cast<size_t>(key_tokens(snapshot.tokens)));
  if (holds(ids, snapshot.tokens, salt)) {
    cache_.close(snapshot);
  } else {
    add(key, snapshot, salt);
  }
  touch(*deepest(key, salt), key);
}

// All or nothing, where the host has no memory.
void PrefixIndex::add(Ids key, KvSnapshot& snapshot, uint64_t salt) {
  try {
    Node* node = node_for(key, salt);
    const Ids tail = after(key, node->depth);
    node->entries.reserve(node->entries.size() + 1);
    entries_.push_back({node, {tail.begin(), tail.end()}, {}});
    entries_.back().snapshot = std::move(snapshot);
    node->entries.push_back(std::prev(entries_.end()));
  } catch (...) {
    cache_.close(snapshot);
    if (Node* node = deepest(key, salt)) prune(node);
    throw;
  }
}

bool PrefixIndex::reclaim() {
  if (entries_.empty()) return false;
  ++evictions_;
  erase(entries_.begin());
  return true;
}

void PrefixIndex::clear() {
  while (!entries_.empty()) erase(entries_.begin());
}

void PrefixIndex::erase(Place entry) {
  Node* node = entry->node;
  std::erase(node->entries, entry);
  cache_.close(entry->snapshot);
  entries_.erase(entry);
  prune(node);
}

void PrefixIndex::prune(Node* node) {
  while (node->entries.empty() && node->children.empty()) {
    Node* const parent = node->parent;
    if (parent == nullptr) {
      roots_.erase(node->salt);
      return;
    }
    std::erase(parent->children, node);
    const auto [first, last] = nodes_.equal_range(node->hash);
    nodes_.erase(std::find_if(first, last, [&](const auto& n) { return n.second.get() == node; }));
    node = parent;
  }
}

std::vector<PrefixIndex::Stored> PrefixIndex::stored() const {
  std::vector<Stored> out;
  for (const Entry& entry : entries_) {
    Stored& one = out.emplace_back();
    one.salt = entry.node->salt;
    one.snapshot = &entry.snapshot;
    one.key.resize(static_cast<size_t>(entry.node->depth * kB));
    for (const Node* node = entry.node; node->parent != nullptr; node = node->parent)
      std::ranges::copy(node->tokens, one.key.begin() + (node->depth - 1) * kB);
    one.key.insert(one.key.end(), entry.tail.begin(), entry.tail.end());
  }
  return out;
}

}  // namespace dure
