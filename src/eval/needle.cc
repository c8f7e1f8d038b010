// Each text twice through the scorer: with the code that is asked for, and with another in its
// place.
#include "eval/needle.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/rng.h"
#include "data/corpus.h"
#include "engine/known_tokens.h"
#include "engine/scorer.h"
#include "model/context_fit.h"

namespace dure {
namespace {

constexpr int64_t kShortest = 64;  // Tokens: two sentences and some text in any tokenizer.
constexpr std::array kNames = {"Anna", "Boris", "Clara", "David", "Emma", "Frank", "Greta", "Hugo"};

std::string sentence(const std::string& name, const std::string& code) {
  return "\nThe code of " + name + " is " + code + ".\n";
}
std::string question(const std::string& name) { return "\nThe code of " + name + " is "; }

void append(std::vector<int32_t>& to, const std::vector<int32_t>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

std::string random_code(Rng& rng) { return fmt::format("{:04}", rng.below(10000)); }

std::vector<int32_t> heldout_ids(const std::string& corpus, const std::string& language,
                                 const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  for_each_record(heldout_file(corpus, language),
                  [&](const Record& record) { append(ids, tokenizer.encode(record.text + "\n")); });
  if (ids.empty())
    fail(ErrorCode::kInvalidArgument, "needle.language: {} holds no text in '{}'", corpus,
         language);
  return ids;
}

struct Cell {
  int64_t right = 0, total = 0, digits_right = 0, digits = 0;
  double gain = 0;  // sum over digits, nats
};

// Of the code at a text's end.
struct CodeScore {
  double log_probability = 0;
  int64_t digits_right = 0;
};

class Finder {
 public:
  Finder(const ModelWeights& weights, int64_t length_max, Stream& stream)
      : scorer_(weights, {.sequence_tokens_max = length_max, .sequences_max = 1}, stream),
        vocabulary_(weights.config.vocab_size) {}

  CodeScore score(const NeedleText& text) {
    CodeScore out;
    const int64_t length = std::ssize(text.ids), first = length - text.code_tokens;
    const std::span<const int32_t> all(text.ids);
    scorer_.score({&all, 1}, [&](const ScoredRows& rows) {
      for (size_t r = 0; r < rows.log_probability.size(); ++r) {
        const int64_t next = rows.first_position + static_cast<int64_t>(r) + 1;
        if (next < first || next >= length) continue;
        out.log_probability += static_cast<double>(rows.log_probability[r]);
        const auto logits = rows.logits.subspan(r * static_cast<size_t>(vocabulary_),
                                                static_cast<size_t>(vocabulary_));
        const auto likeliest = std::max_element(logits.begin(), logits.end()) - logits.begin();
        out.digits_right += likeliest == text.ids[static_cast<size_t>(next)] ? 1 : 0;
      }
    });
    return out;
  }

 private:
  Scorer scorer_;
  int64_t vocabulary_;
};

Json cell_json(int64_t length, double depth, const Cell& cell) {
  Json row = Json::object();
  row["length"] = length;
  row["depth"] = depth;
  row["right"] = cell.right;
  row["total"] = cell.total;
  row["digits_right"] = cell.digits_right;
  row["digits"] = cell.digits;
  row["gain_nats"] = cell.gain / static_cast<double>(cell.digits);
  return row;
}

}  // namespace

void check_needles(const NeedleSuiteOptions& options, const std::string& corpus,
                   const std::string& where) {
  if (options.lengths.empty()) return;
  if (corpus.empty())
    fail(ErrorCode::kInvalidArgument,
         "{}: needle.lengths needs held-out text around the code: set text.corpus", where);
  for (const int64_t length : options.lengths) {
    if (length < kShortest || length > (int64_t{1} << 22))
      fail(ErrorCode::kInvalidArgument, "{}: needle.lengths holds {}: give {} to {} tokens", where,
           length, kShortest, int64_t{1} << 22);
  }
}

NeedleText needle_text(const Tokenizer& tokenizer, const std::vector<int32_t>& around,
                       const NeedlePlace& place, const std::string& name,
                       const std::string& planted, const std::string& asked) {
  const std::vector<int32_t> needle = tokenizer.encode(sentence(name, planted)),
                             ask = tokenizer.encode(question(name)), code = tokenizer.encode(asked);
  const int64_t filling = place.length - std::ssize(needle) - std::ssize(ask) - std::ssize(code);
  DURE_CHECK(filling >= 0 && !around.empty(), "{} tokens", place.length);
  const auto before = static_cast<int64_t>(place.depth * static_cast<double>(filling));
  NeedleText out{.ids = {}, .code_tokens = std::ssize(code)};
  out.ids.reserve(static_cast<size_t>(place.length));
  for (int64_t i = 0; i < filling; ++i) {
    if (i == before) append(out.ids, needle);
    out.ids.push_back(around[static_cast<size_t>((place.first + i) % std::ssize(around))]);
  }
  if (before == filling) append(out.ids, needle);
  append(out.ids, ask);
  append(out.ids, code);
  return out;
}

Json find_needles(const NeedleSuiteOptions& options, const std::string& corpus, uint64_t seed,
                  const std::string& subject, const ModelWeights& weights, const ChatTexts& texts,
                  Stream& stream) {
  const Tokenizer& tokenizer = texts.require_tokenizer();
  const std::vector<int32_t> around = heldout_ids(corpus, options.language, tokenizer);
  require_known_tokens(around, weights.config.vocab_size, texts.source + ": its tokenizer's token");
  const int64_t longest = *std::max_element(options.lengths.begin(), options.lengths.end());
  warn_beyond_context(weights.config, longest, subject + ": needle.lengths");
  const InterruptScope scope;
  Finder finder(weights, longest, stream);
  Progress progress(subject + ": needles",
                    std::ssize(options.lengths) * options.depths * options.needles_per_cell,
                    "texts");
  Json rows = Json::array();
  int64_t done = 0;
  for (const int64_t length : options.lengths) {
    for (int64_t d = 0; d < options.depths; ++d) {
      Cell cell;
      const double depth = static_cast<double>(d) / static_cast<double>(options.depths - 1);
      for (int64_t i = 0; i < options.needles_per_cell; ++i) {
        throw_if_interrupted("nothing was saved");
        // The same codes and texts at every length and depth.
        Rng rng(seed, stream_id("needle", static_cast<uint64_t>(i)));
        const std::string name = kNames[rng.below(kNames.size())], code = random_code(rng);
        std::string other = code;
        while (other == code) other = random_code(rng);
        const NeedlePlace place{length, depth, static_cast<int64_t>(rng.below(around.size()))};
        const CodeScore with =
            finder.score(needle_text(tokenizer, around, place, name, code, code));
        const CodeScore without =
            finder.score(needle_text(tokenizer, around, place, name, other, code));
        const int64_t digits = std::ssize(tokenizer.encode(code));
        cell.right += with.digits_right == digits ? 1 : 0;
        cell.digits_right += with.digits_right;
        cell.digits += digits;
        cell.gain += with.log_probability - without.log_probability;
        ++cell.total;
        progress.update(++done);
      }
      rows.push_back(cell_json(length, depth, cell));
    }
  }
  progress.finish();
  return rows;
}

}  // namespace dure
