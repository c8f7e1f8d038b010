// The merge table is one open-addressed array of pairs with their ranks; the word cache is
// direct-mapped and takes words of up to 31 bytes. A clause is encoded word by word, then merged
// across.
#include "text/bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/check.h"
#include "text/unicode.h"

namespace dure {
namespace {

constexpr size_t kShortCount = 40;  // Up to here the array beats the heap (bench/tokenizer.cc).
constexpr size_t kWordSlotCount = 1 << 15;
constexpr size_t kWordBytesMax = 31;

// Short pieces: ranks of neighbours in an array, its minimum found by looking at all of them.
size_t merge_short(const MergeTable& table, uint32_t rank_limit, int32_t* ids, size_t count) {
  uint32_t ranks[kShortCount];
  const auto rank_of = [&](size_t i) {
    const uint32_t rank = table.rank(ids[i], ids[i + 1]);
    return rank < rank_limit ? rank : MergeTable::kNone;
  };
  for (size_t i = 0; i + 1 < count; ++i) ranks[i] = rank_of(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == MergeTable::kNone) break;
    ids[best] = table.result(ranks[best]);
    --count;
    std::memmove(ids + best + 1, ids + best + 2, (count - best - 1) * sizeof(*ids));
    if (best + 1 < count) {
      std::memmove(ranks + best + 1, ranks + best + 2, (count - best - 2) * sizeof(*ranks));
      ranks[best] = rank_of(best);
    }
    if (best > 0) ranks[best - 1] = rank_of(best - 1);
  }
  return count;
}

// Long pieces: candidates in a heap by (rank, position); stale ones are recognised by their rank.
size_t merge_long(const MergeTable& table, uint32_t rank_limit, int32_t* ids, size_t count,
                  BpeScratch& scratch) {
  DURE_CHECK(count < INT32_MAX, "a piece of {} tokens", count);
  std::vector<BpeScratch::Link>& links = scratch.links;
  std::vector<uint64_t>& heap = scratch.heap;
  links.resize(count);
  heap.clear();
  for (size_t i = 0; i < count; ++i) {
    links[i] = {ids[i], static_cast<int32_t>(i) - 1,
                i + 1 < count ? static_cast<int32_t>(i) + 1 : -1};
    if (i + 1 == count) break;
    if (const uint32_t rank = table.rank(ids[i], ids[i + 1]); rank < rank_limit)
      heap.push_back(uint64_t{rank} << 32 | i);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto push = [&](int32_t at, int32_t next) {
    const uint32_t rank =
        table.rank(links[static_cast<size_t>(at)].id, links[static_cast<size_t>(next)].id);
    if (rank >= rank_limit) return;
    heap.push_back(uint64_t{rank} << 32 | static_cast<uint32_t>(at));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint32_t rank = static_cast<uint32_t>(heap.back() >> 32);
    const int32_t at = static_cast<int32_t>(heap.back() & UINT32_MAX);
    heap.pop_back();
    BpeScratch::Link& link = links[static_cast<size_t>(at)];
    if (link.id < 0 || link.next < 0) continue;
    BpeScratch::Link& gone = links[static_cast<size_t>(link.next)];
    if (table.rank(link.id, gone.id) != rank) continue;
    link.id = table.result(rank);
    link.next = gone.next;
    gone.id = -1;
    if (link.next >= 0) {
      links[static_cast<size_t>(link.next)].previous = at;
      push(at, link.next);
    }
    if (link.previous >= 0) push(link.previous, at);
  }
  size_t kept = 0;
  for (int32_t at = 0; at >= 0; at = links[static_cast<size_t>(at)].next)
    ids[kept++] = links[static_cast<size_t>(at)].id;
  return kept;
}

// Does `left`, ending where a word ends, end in something other than white space? A part of a
// character may.
bool ends_in_no_space(const CharTable& table, std::string_view left) {
  const std::string_view last =
      left.empty() ? left : left.substr(utf8_start(left, left.size() - 1));
  if (last.empty() || !is_valid_utf8(last)) return true;
  return !(table.bits_at(last.data()) & kCharSpace);
}

bool space_ends_at(const CharTable& table, const char* begin, const char* at) {
  do --at;
  while (at > begin && is_utf8_tail(*at));
  return (table.bits_at(at) & kCharSpace) != 0;
}

uint64_t mix(uint64_t a, uint64_t b) {
  a = (a ^ b) * 0x9FB21C651E98DF25u;
  return a ^ a >> 29;
}

// The first `length` bytes at `p`, zero-padded to 32, `tag` in the last one.
std::array<uint64_t, 4> word_key(const char* p, size_t length, const char* readable_end,
                                 uint8_t tag) {
  static constexpr uint64_t kAll = UINT64_MAX;
  std::array<uint64_t, 4> key{};
  if (p + 32 <= readable_end) {
    std::memcpy(key.data(), p, 32);
    for (size_t i = 0; i < 4; ++i) {
      const size_t from = i * 8;
      if (length < from + 8) key[i] &= length <= from ? 0 : kAll >> (8 * (from + 8 - length));
    }
  } else {
    std::memcpy(key.data(), p, length);
  }
  key[3] |= uint64_t{tag} << 56;
  return key;
}

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges) {
  DURE_CHECK(static_cast<int64_t>(merges.size()) <= kMergeCountMax);
  int bits = 4;
  while ((size_t{1} << bits) < 2 * merges.size()) ++bits;
  shift_ = 64 - bits;
  mask_ = (size_t{1} << bits) - 1;
  slots_.assign(mask_ + 1, kEmpty);
  results_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    DURE_CHECK(merge.left >= 0 && merge.left <= kIdMax && merge.right >= 0 &&
               merge.right <= kIdMax);
    const uint64_t key =
        static_cast<uint64_t>(merge.left) << 21 | static_cast<uint64_t>(merge.right);
    size_t slot = key * kMultiplier >> shift_;
    while (slots_[slot] != kEmpty && slots_[slot] >> 22 != key) slot = (slot + 1) & mask_;
    slots_[slot] = key << 22 | rank;
    results_.push_back(merge.result);
  }
}

BpeScratch::BpeScratch() = default;
BpeScratch::~BpeScratch() = default;
BpeScratch::BpeScratch(BpeScratch&&) noexcept = default;

void BpeScratch::clear() { words.clear(); }

size_t merge_tokens(const MergeTable& table, uint32_t rank_limit, int32_t* ids, size_t count,
                    BpeScratch& scratch) {
  if (count < 2) return count;
  return count <= kShortCount ? merge_short(table, rank_limit, ids, count)
                              : merge_long(table, rank_limit, ids, count, scratch);
}

Bpe::Bpe(const Vocab& vocab, const std::vector<Merge>& merges, Config config)
    : table_(merges), config_(config) {
  for (int b = 0; b < 256; ++b) {
    std::string text;
    append_utf8(text, byte_char(static_cast<uint8_t>(b)));
    byte_ids_[static_cast<size_t>(b)] = vocab.find(text).value_or(-1);
    if (byte_ids_[static_cast<size_t>(b)] < 0) every_byte_ = false;
  }
  if (!every_byte_) return;  // Unknown bytes may fuse across words: no word is then encoded alone.
  const CharTable& chars = CharTable::get();
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view right = vocab.bytes(merges[rank].right);
    if (right.empty() || right[0] != ' ' ||
        !ends_in_no_space(chars, vocab.bytes(merges[rank].left)))
      continue;
    if (table_.rank(merges[rank].left, merges[rank].right) != rank)
      continue;  // Overridden by a later copy.
    joining_rank_ = static_cast<uint32_t>(rank);
    break;
  }
}

void Bpe::encode(std::string_view piece, const char* readable_end, std::vector<int32_t>& out,
                 BpeScratch& scratch) const {
  const char* const begin = piece.data();
  const char* const end = begin + piece.size();
  const char* word = begin;
  const size_t first = out.size();
  if (joining_rank_ != MergeTable::kNone) {
    const CharTable& chars = CharTable::get();
    for (const char* p = begin + 1; p < end; ++p) {
      p = static_cast<const char*>(std::memchr(p, ' ', static_cast<size_t>(end - p)));
      if (p == nullptr) break;
      if (space_ends_at(chars, begin, p)) continue;
      encode_word({word, static_cast<size_t>(p - word)}, readable_end, joining_rank_, out, scratch);
      word = p;
    }
  }
  const std::string_view last(word, static_cast<size_t>(end - word));
  if (word == begin) return encode_word(last, readable_end, MergeTable::kNone, out, scratch);
  encode_word(last, readable_end, joining_rank_, out, scratch);
  out.resize(first + merge_tokens(table_, MergeTable::kNone, out.data() + first, out.size() - first,
                                  scratch));
}

void Bpe::encode_word(std::string_view word, const char* readable_end, uint32_t rank_limit,
                      std::vector<int32_t>& out, BpeScratch& scratch) const {
  if (word.size() > kWordBytesMax) return encode_bytes(word, rank_limit, out, scratch);
  if (word.size() == 1 && byte_ids_[static_cast<unsigned char>(word[0])] >= 0) {
    return out.push_back(byte_ids_[static_cast<unsigned char>(word[0])]);
  }
  // A word alone in its piece and a word before joining are different entries: the phase is part of
  // the key.
  const uint8_t tag =
      static_cast<uint8_t>(word.size() | (rank_limit == MergeTable::kNone ? 0x80u : 0u));
  const std::array<uint64_t, 4> key = word_key(word.data(), word.size(), readable_end, tag);
  if (scratch.words.empty()) scratch.words.resize(kWordSlotCount);
  const uint64_t hash = mix(mix(mix(key[0], key[1]), key[2]), key[3]);
  BpeScratch::Word& entry = scratch.words[hash >> 40 & (kWordSlotCount - 1)];
  if (entry.key == key) {
    for (const int32_t id : entry.ids) {
      if (id < 0) break;
      out.push_back(id);
    }
    return;
  }
  const size_t first = out.size();
  encode_bytes(word, rank_limit, out, scratch);
  const size_t count = out.size() - first;
  if (count > entry.ids.size()) return;
  entry.key = key;
  entry.ids.fill(-1);
  std::copy_n(out.begin() + static_cast<std::ptrdiff_t>(first), count, entry.ids.begin());
}

void Bpe::encode_bytes(std::string_view bytes, uint32_t rank_limit, std::vector<int32_t>& out,
                       BpeScratch& scratch) const {
  const size_t first = out.size();
  out.resize(first + bytes.size());
  int32_t* ids = out.data() + first;
  size_t count = 0;
  for (const char b : bytes) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(b)];
    if (id >= 0) {
      ids[count++] = id;
    } else if (config_.unknown_id >= 0 &&
               !(config_.fuse_unknown && count > 0 && ids[count - 1] == config_.unknown_id)) {
      ids[count++] = config_.unknown_id;
    }
  }
  out.resize(first + merge_tokens(table_, rank_limit, ids, count, scratch));
}

}  // namespace dure
