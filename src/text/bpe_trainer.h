// text/bpe_trainer.h: trains a byte-level BPE tokenizer, in the two stages of SuperBPE.
//
// Stage one counts words (kWordPattern) and merges the most frequent pair of tokens until the
// vocabulary has `words_size` tokens. Stage two cuts the text into superword pieces, encodes them
// with stage one's merges, and goes on by the same rule until `vocab_size`: its merges may cross
// spaces. Ties go to the smallest (left id, right id). Ids: special tokens, then 256 bytes in the
// order of GPT-2's characters, then merges. Source: Liu et al., "SuperBPE: Space Travel for
// Language Models", 2025; the tie rule is that of `tokenizers`.
//
// Not here: reading corpora (cli/verb_tokenizer.cc, data/).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace dure {

struct BpeTrainerOptions {
  int64_t vocab_size = 8192;  // All tokens: special ones, bytes, merges.
  int64_t words_size = 0;     // Tokens after stage one; 0: (1 - superword_share) of vocab_size.
  // Share of the vocabulary that stage two learns. K-EXAONE: about 20 %.
  double superword_share = 0.2;
  std::vector<std::string> special_tokens = default_special_tokens();
  TokenRoles roles = {.bos = "[BOS]", .eos = "<|endofturn|>", .pad = "[PAD]", .unk = "[UNK]"};
  std::string words_pattern = kWordPattern;
  std::string superwords_pattern = kSuperwordPattern;
  // Called now and then with the number of tokens so far; may throw to stop.
  std::function<void(int64_t token_count, const char* stage)> progress;

  static std::vector<std::string> default_special_tokens();
  template <typename V>
  void visit(V& v) {
    v("vocab_size", vocab_size, "tokens in all: special ones, 256 bytes, merges");
    v("words_size", words_size, "tokens after stage one; 0: from superword_share");
    v("superword_share", superword_share, "share of the vocabulary learnt across spaces");
    v("special_tokens", special_tokens, "ids from 0 on, in this order");
  }
};

class BpeTrainer {
 public:
  // Throws Error kInvalidArgument: sizes that leave no room, special tokens given twice, patterns
  // that do not compile.
  explicit BpeTrainer(BpeTrainerOptions options);

  // One sequence (a line, a document); normalised to NFC here. Pieces never cross sequences.
  void add(std::string_view text);

  // Trains on everything added. The vocabulary is smaller than asked for where the text has no more
  // pairs.
  Tokenizer train();

  int64_t byte_count() const { return byte_count_; }  // Normalised text seen so far.
  // Of the last train(): tokens that cross a space.
  int64_t superword_count() const { return superword_count_; }

 private:
  struct Counter;
  BpeTrainerOptions options_;
  PreTokeniser words_, superwords_;
  std::shared_ptr<Counter> word_counts_, superword_counts_;
  std::vector<size_t> ends_;
  std::string normal_;
  int64_t byte_count_ = 0, superword_count_ = 0;
};

}  // namespace dure
