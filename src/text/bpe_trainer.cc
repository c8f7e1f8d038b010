// Distinct pieces are counted first. PairMerger then keeps every pair with its places, and a heap
// whose counts may be too high: a merge touches nothing but its own places.
#include "text/bpe_trainer.h"

#include <algorithm>
#include <queue>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "text/nfc.h"

namespace dure {

std::vector<std::string> BpeTrainerOptions::default_special_tokens() {
  return {"[PAD]",         "[BOS]",         "[EOS]",         "[UNK]",
          "<|system|>",    "<|user|>",      "<|assistant|>", "<|endofturn|>",
          "<think>",       "</think>",      "<|tool|>",      "<|tool_declare|>",
          "<tool>",        "</tool>",       "<tool_call>",   "</tool_call>",
          "<tool_result>", "</tool_result>"};
}

// Distinct pieces and how often each came, in order of first appearance.
struct BpeTrainer::Counter {
  struct Piece {
    uint64_t hash;
    int64_t count;
    size_t offset;
    uint32_t length;
  };
  std::string texts;
  std::vector<Piece> pieces;
  std::vector<uint32_t> slots = std::vector<uint32_t>(1 << 12, 0);  // Index + 1; at most half full.

  std::string_view text(const Piece& piece) const {
    return {texts.data() + piece.offset, piece.length};
  }

  void add(std::string_view piece_text) {
    const uint64_t hash = xxh64(piece_text);
    size_t slot = hash & (slots.size() - 1);
    for (; slots[slot] != 0; slot = (slot + 1) & (slots.size() - 1)) {
      Piece& piece = pieces[slots[slot] - 1];
      if (piece.hash == hash && text(piece) == piece_text) return void(++piece.count);
    }
    if (pieces.size() >= UINT32_MAX - 1 || piece_text.size() > UINT32_MAX)
      fail(ErrorCode::kUnsupported, "tokenizer training: too much text");
    pieces.push_back({hash, 1, texts.size(), static_cast<uint32_t>(piece_text.size())});
    texts += piece_text;
    slots[slot] = static_cast<uint32_t>(pieces.size());
    if (2 * pieces.size() > slots.size()) grow();
  }

  void grow() {
    slots.assign(slots.size() * 2, 0);
    for (size_t i = 0; i < pieces.size(); ++i) {
      size_t slot = pieces[i].hash & (slots.size() - 1);
      while (slots[slot] != 0) slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = static_cast<uint32_t>(i + 1);
    }
  }
};

namespace {

// All pieces as one array of tokens, every adjacent pair with its count and places, and a heap of
// pairs: the most frequent first, ties to the smallest (left, right). Counts in the heap may be too
// high (pairs vanish when their neighbours merge); a popped one is put back with its true count.
class PairMerger {
 public:
  void reserve(size_t token_count) {
    DURE_CHECK(token_count < UINT32_MAX);
    ids_.reserve(token_count);
    previous_.reserve(token_count);
    next_.reserve(token_count);
    pieces_.reserve(token_count);
  }

  void add_piece(const std::vector<int32_t>& ids, int64_t count) {
    if (ids_.size() + ids.size() >= kNone)
      fail(ErrorCode::kUnsupported, "tokenizer training: more than {} tokens in distinct pieces",
           kNone);
    const uint32_t piece = static_cast<uint32_t>(counts_.size());
    counts_.push_back(count);
    for (size_t i = 0; i < ids.size(); ++i) {
      const uint32_t at = static_cast<uint32_t>(ids_.size());
      ids_.push_back(ids[i]);
      previous_.push_back(i > 0 ? at - 1 : kNone);
      next_.push_back(i + 1 < ids.size() ? at + 1 : kNone);
      pieces_.push_back(piece);
      if (i > 0) add_pair(at - 1, ids[i - 1], ids[i], count);
    }
  }

  void start() {
    for (uint32_t pair = 0; pair < pairs_.size(); ++pair) push(pair);
    fresh_.clear();
  }

  // The pair to merge now, and how often it occurs; false where no pair is left.
  bool best(int32_t& left, int32_t& right) {
    while (!heap_.empty()) {
      const Candidate top = heap_.top();
      Pair& pair = pairs_[top.pair];
      if (pair.count == top.count && pair.count > 0) {
        left = pair.left;
        right = pair.right;
        return true;
      }
      heap_.pop();
      if (pair.count > 0 && pair.count < top.count) push(top.pair);
    }
    return false;
  }

  // Replaces every (left, right), from the left in each piece, by `result`. It must be what best()
  // gave.
  void merge_best(int32_t result) {
    const uint32_t merged = heap_.top().pair;
    heap_.pop();
    const int32_t left = pairs_[merged].left, right = pairs_[merged].right;
    std::vector<uint32_t> places = std::move(pairs_[merged].places);
    pairs_[merged].places.clear();
    if (!std::is_sorted(places.begin(), places.end())) std::sort(places.begin(), places.end());
    fresh_.clear();
    for (const uint32_t at : places) {
      const uint32_t gone = ids_[at] == left ? next_[at] : kNone;
      if (gone == kNone || ids_[gone] != right)
        continue;  // Merged with another neighbour meanwhile.
      const int64_t count = counts_[pieces_[at]];
      const uint32_t before = previous_[at], after = next_[gone];
      ids_[at] = result;
      ids_[gone] = -1;
      next_[at] = after;
      if (before != kNone) {
        drop_pair(ids_[before], left, count);
        add_pair(before, ids_[before], result, count);
      }
      if (after != kNone) {
        previous_[after] = at;
        drop_pair(right, ids_[after], count);
        add_pair(at, result, ids_[after], count);
      }
    }
    pairs_[merged].count = 0;
    for (const uint32_t pair : fresh_) push(pair);
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Pair {
    int32_t left, right;
    int64_t count = 0;
    bool fresh = false;  // Grew since it was last in the heap.
    // Of its left token, ascending; may hold places where it is no more.
    std::vector<uint32_t> places;
  };
  struct Candidate {
    int64_t count;
    int32_t left, right;
    uint32_t pair;
    bool operator<(const Candidate& other) const {  // std::priority_queue pops the largest.
      if (count != other.count) return count < other.count;
      if (left != other.left) return left > other.left;
      return right > other.right;
    }
  };

  void push(uint32_t pair) {
    pairs_[pair].fresh = false;
    if (pairs_[pair].count > 0)
      heap_.push({pairs_[pair].count, pairs_[pair].left, pairs_[pair].right, pair});
  }

  void add_pair(uint32_t at, int32_t left, int32_t right, int64_t count) {
    const uint32_t index = index_of(left, right, true);
    Pair& pair = pairs_[index];
    pair.count += count;
    pair.places.push_back(at);
    if (!pair.fresh) {
      pair.fresh = true;
      fresh_.push_back(index);
    }
  }

  void drop_pair(int32_t left, int32_t right, int64_t count) {
    pairs_[index_of(left, right, false)].count -= count;
  }

  uint32_t index_of(int32_t left, int32_t right, bool may_add) {
    const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
    size_t slot = hash(key);
    for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
      const Pair& pair = pairs_[slots_[slot] - 1];
      if (pair.left == left && pair.right == right) return slots_[slot] - 1;
    }
    DURE_CHECK(may_add, "pair ({}, {}) was never counted", left, right);
    pairs_.push_back({.left = left, .right = right, .places = {}});
    slots_[slot] = static_cast<uint32_t>(pairs_.size());
    if (2 * pairs_.size() > slots_.size()) grow();
    return static_cast<uint32_t>(pairs_.size()) - 1;
  }

  size_t hash(uint64_t key) const {
    return (key * 0x9E3779B97F4A7C15u >> 20) & (slots_.size() - 1);
  }

  void grow() {
    slots_.assign(slots_.size() * 2, 0);
    for (size_t i = 0; i < pairs_.size(); ++i) {
      size_t slot = hash(static_cast<uint64_t>(pairs_[i].left) << 32 |
                         static_cast<uint32_t>(pairs_[i].right));
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = static_cast<uint32_t>(i + 1);
    }
  }

  std::vector<int32_t> ids_;  // [tokens], -1 where a token went into the one before
  std::vector<uint32_t> previous_, next_, pieces_;  // [tokens]
  std::vector<int64_t> counts_;                     // [pieces]
  std::vector<Pair> pairs_;
  std::vector<uint32_t> slots_ = std::vector<uint32_t>(1 << 12, 0);
  std::vector<uint32_t> fresh_;
  std::priority_queue<Candidate> heap_;
};

constexpr int64_t kProgressEvery = 64;  // merges

// Merges until the vocabulary has `size` tokens or no pair is left.
void learn(PairMerger& merger, int64_t size, const char* stage, const BpeTrainerOptions& options,
           TokenizerParts& parts) {
  merger.start();
  std::string text;
  int32_t left = 0, right = 0;
  while (parts.vocab.token_count() < size && merger.best(left, right)) {
    text.assign(parts.vocab.text(left));
    text += parts.vocab.text(right);
    // Two different pairs may spell one token: it keeps its id.
    const std::optional<int32_t> known = parts.vocab.find(text);
    const int32_t result = known.value_or(static_cast<int32_t>(parts.vocab.id_count()));
    if (!known) {
      DURE_CHECK(parts.vocab.add(result, text));
      parts.model_ids.push_back(result);
    }
    parts.merges.push_back({left, right, result});
    merger.merge_best(result);
    if (options.progress && parts.merges.size() % kProgressEvery == 0)
      options.progress(parts.vocab.token_count(), stage);
  }
}

void add_special_tokens(const BpeTrainerOptions& options, TokenizerParts& parts) {
  for (const std::string& content : options.special_tokens) {
    const int32_t id = static_cast<int32_t>(parts.vocab.id_count());
    if (content.empty() || !parts.vocab.add(id, content)) {
      fail(ErrorCode::kInvalidArgument,
           "tokenizer training: special token '{}' is empty or given twice", content);
    }
    parts.model_ids.push_back(id);
    parts.added.push_back({.id = id, .content = content, .normalized = false, .special = true});
  }
}

void add_bytes(TokenizerParts& parts) {
  std::vector<uint8_t> order(256);
  for (size_t b = 0; b < 256; ++b) order[b] = static_cast<uint8_t>(b);
  std::sort(order.begin(), order.end(),
            [](uint8_t a, uint8_t b) { return byte_char(a) < byte_char(b); });
  for (const uint8_t b : order) {
    const int32_t id = static_cast<int32_t>(parts.vocab.id_count());
    const std::string text =
        byte_level_text(std::string_view(reinterpret_cast<const char*>(&b), 1));
    if (!parts.vocab.add(id, text))
      fail(ErrorCode::kInvalidArgument,
           "tokenizer training: special token '{}' is the name of a byte", text);
    parts.model_ids.push_back(id);
  }
}

int64_t count_superwords(const TokenizerParts& parts) {
  return std::count_if(parts.model_ids.begin(), parts.model_ids.end(), [&](int32_t id) {
    const std::string_view bytes = parts.vocab.bytes(id);
    const size_t word = bytes.find_first_not_of(' ');
    return word != std::string_view::npos && bytes.find(' ', word) != std::string_view::npos;
  });
}

}  // namespace

BpeTrainer::BpeTrainer(BpeTrainerOptions options)
    : options_(std::move(options)),
      words_({options_.words_pattern}, "words pattern"),
      superwords_({options_.superwords_pattern}, "superwords pattern"),
      word_counts_(std::make_shared<Counter>()),
      superword_counts_(std::make_shared<Counter>()) {
  const int64_t least = static_cast<int64_t>(options_.special_tokens.size()) + 256;
  if (options_.vocab_size < least || options_.vocab_size > MergeTable::kIdMax) {
    fail(ErrorCode::kInvalidArgument,
         "tokenizer training: a vocabulary of {}; from {} ({} special tokens and 256 bytes) to {} "
         "is possible",
         options_.vocab_size, least, options_.special_tokens.size(), MergeTable::kIdMax);
  }
  if (!(options_.superword_share >= 0 && options_.superword_share <= 1)) {
    fail(ErrorCode::kInvalidArgument, "tokenizer training: a superword share of {}; from 0 to 1",
         options_.superword_share);
  }
  if (options_.words_size == 0) {
    options_.words_size =
        std::max(least, options_.vocab_size -
                            static_cast<int64_t>(options_.superword_share *
                                                 static_cast<double>(options_.vocab_size)));
  }
  if (options_.words_size < least || options_.words_size > options_.vocab_size) {
    fail(ErrorCode::kInvalidArgument,
         "tokenizer training: {} tokens after stage one; from {} to the {} of the whole vocabulary "
         "are possible",
         options_.words_size, least, options_.vocab_size);
  }
}

void BpeTrainer::add(std::string_view text) {
  const std::string repaired = is_valid_utf8(text) ? std::string() : repair_utf8(text);
  text = to_nfc(repaired.empty() ? text : std::string_view(repaired), normal_);
  byte_count_ += static_cast<int64_t>(text.size());
  const auto count = [&](const PreTokeniser& pretokeniser, Counter& counter) {
    pretokeniser.split(text, ends_);
    size_t begin = 0;
    for (const size_t end : ends_) {
      counter.add(text.substr(begin, end - begin));
      begin = end;
    }
  };
  count(words_, *word_counts_);
  if (options_.words_size < options_.vocab_size) count(superwords_, *superword_counts_);
}

Tokenizer BpeTrainer::train() {
  TokenizerParts parts;
  parts.source = "trained tokenizer";
  add_special_tokens(options_, parts);
  add_bytes(parts);
  const bool superwords = options_.words_size < options_.vocab_size;
  const auto learn_stage = [&](const Counter& counter, int64_t size, const char* stage) {
    const Bpe bpe(parts.vocab, parts.merges, {});
    PairMerger merger;
    BpeScratch scratch;
    std::vector<int32_t> ids;
    for (const Counter::Piece& piece : counter.pieces) {
      const std::string_view text = counter.text(piece);
      ids.clear();
      bpe.encode(text, text.data() + text.size(), ids, scratch);
      merger.add_piece(ids, piece.count);
    }
    learn(merger, size, stage, options_, parts);
  };
  learn_stage(*word_counts_, options_.words_size, "words");
  if (superwords) learn_stage(*superword_counts_, options_.vocab_size, "superwords");
  parts.patterns = {superwords ? options_.superwords_pattern : options_.words_pattern};
  parts.model_token_count = static_cast<int64_t>(parts.model_ids.size());
  superword_count_ = count_superwords(parts);
  const auto known = [&](std::string& content) {
    if (!parts.vocab.find(content)) content.clear();
  };
  parts.roles = options_.roles;
  known(parts.roles.bos);
  known(parts.roles.eos);
  known(parts.roles.pad);
  known(parts.roles.unk);
  return Tokenizer(std::move(parts));
}

}  // namespace dure
