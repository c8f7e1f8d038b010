// What does a token mask cost? Random walks through constraints over a vocabulary of 153,600
// tokens: once to warm the caches, once more with other draws, timed; a JSON line for each
// constraint.
//   bench_token_mask [TOKENIZER [WALKS]]
// Without a tokenizer the vocabulary is synthetic: bytes, words of Latin and Hangul syllables with
// and without a space before them, superwords, numbers, runs of spaces, clusters of JSON's signs.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_set>

#include "base/error.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "bench_main.h"
#include "grammar/json_schema.h"
#include "grammar/pattern.h"
#include "grammar/token_matcher.h"
#include "text/tokenizer.h"
#include "timing.h"

namespace dure {
namespace {

constexpr int64_t kVocabSize = 153'600;
constexpr int64_t kTokensMax = 200;  // of one walk

class SyntheticWords {
 public:
  explicit SyntheticWords(uint64_t seed) : rng_(seed) {}

  std::string next() {
    switch (rng_.below(12)) {
      case 0:
        return number();
      case 1:
        return signs();
      case 2:
        return std::string(static_cast<size_t>(rng_.between(1, 100)),
                           rng_.below(4) == 0 ? '\n' : ' ');
      case 3:
      case 4:
        return word() + word();  // A superword.
      default:
        return word();
    }
  }

 private:
  std::string word() {
    std::string out = rng_.below(3) == 0 ? "" : " ";
    const bool hangul = rng_.below(2) == 0;
    for (int64_t n = rng_.between(1, 4); n > 0; --n) {
      if (hangul) {
        append_utf8(out, static_cast<char32_t>(0xAC00 + rng_.below(11'172)));
      } else {
        out += "bcdfghjklmnprstvwz"[rng_.below(18)];
        out += "aeiou"[rng_.below(5)];
      }
    }
    if (rng_.below(60) == 0) out += signs();
    return out;
  }
  std::string number() { return std::to_string(rng_.below(1000)); }
  std::string signs() {
    std::string out;
    for (int64_t n = rng_.between(1, 5); n > 0; --n)
      out += "\"\"\"{}[]:,,.\\/<>()-_= \n"[rng_.below(22)];
    return out;
  }
  Rng rng_;
};

std::shared_ptr<const TokenVocabulary> synthetic_vocabulary() {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  std::unordered_set<std::string> seen(texts.begin(), texts.end());
  SyntheticWords words(1);
  while (static_cast<int64_t>(texts.size()) < kVocabSize - 1) {
    std::string word = words.next();
    if (seen.insert(word).second) texts.push_back(std::move(word));
  }
  texts.push_back(std::string(1, kSpecialMark) + "<stop>");
  std::vector<TokenBytes> tokens;
  for (size_t i = 0; i < texts.size(); ++i) tokens.push_back({texts[i], static_cast<int32_t>(i)});
  return std::make_shared<TokenVocabulary>(std::move(tokens), kVocabSize);
}

struct Constraint {
  const char* name;
  const char* schema;   // or
  const char* pattern;  // the other
};
const Constraint kConstraints[] = {
    {"any JSON object", R"({"type":"object"})", nullptr},
    {"integer 0-99",
     R"({"type":"object","properties":{"n":{"type":"integer","minimum":0,"maximum":99}},"required":["n"],"additionalProperties":false})",
     nullptr},
    {"person",
     R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0},
      "email":{"type":"string","format":"email"},"tags":{"type":"array","items":{"type":"string"},"maxItems":5},
      "address":{"type":"object","properties":{"street":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},"required":["street","zip"]},
      "kind":{"enum":["private","business","unknown"]}},"required":["name","age","kind"]})",
     nullptr},
    {"tree",
     R"({"$defs":{"node":{"type":"object","properties":{"label":{"type":"string","maxLength":200},
      "children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["label","children"]}},"$ref":"#/$defs/node"})",
     nullptr},
    {"any of six shapes",
     R"({"type":"array","items":{"anyOf":[{"type":"integer"},{"type":"string"},{"type":"null"},
      {"type":"object","properties":{"a":{"type":"number"}},"required":["a"]},
      {"type":"object","properties":{"a":{"type":"string"},"b":{"type":"boolean"}},"required":["a","b"]},{"type":"array","items":{"type":"number"}}]}})",
     nullptr},
    {"phone pattern", nullptr, "\\+?[0-9]{1,3}([ -][0-9]{2,4}){2,4}"},
    {"words pattern", nullptr, "(\\p{Lu}\\p{Ll}+ ){3,9}(foo|bar|baz)\\."},
};

Grammar grammar_of(const Constraint& c) {
  GrammarBuilder builder;
  if (c.pattern != nullptr) return builder.build(builder.pattern(c.pattern));
  JsonGrammar json(builder, JsonSpacing::kFlexible);
  return builder.build(add_json_schema(json, parse_json(c.schema, c.name)).rule);
}

bool has(std::span<const uint64_t> mask, int32_t id) {
  const auto i = static_cast<size_t>(id);
  return (mask[i / 64] >> (i % 64) & 1) != 0;
}

// An allowed token of `ids`; few are looked for, many are met.
int32_t draw_of(std::span<const uint64_t> mask, const std::vector<int32_t>& ids, Rng& rng) {
  const auto count = static_cast<int64_t>(ids.size());
  for (int i = 0; i < 40; ++i) {
    const int32_t id = ids[static_cast<size_t>(rng.below(count))];
    if (has(mask, id)) return id;
  }
  const int64_t first = rng.below(count);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t id = ids[static_cast<size_t>((first + i) % count)];
    if (has(mask, id)) return id;
  }
  return -1;
}

// Draws tokens, those that may end a string or a list more often than a blind draw would.
class Drawer {
 public:
  explicit Drawer(const TokenVocabulary& vocabulary) {
    for (const TokenBytes& t : vocabulary.trie().tokens()) {
      all_.push_back(t.id);
      if (t.bytes.size() < 3 && t.bytes.find_first_of("\"]}\xFF") != std::string_view::npos)
        closing_.push_back(t.id);
    }
  }
  int32_t draw(std::span<const uint64_t> mask, Rng& rng) const {
    const int32_t closing = rng.below(4) == 0 ? draw_of(mask, closing_, rng) : -1;
    return closing >= 0 ? closing : draw_of(mask, all_, rng);
  }

 private:
  std::vector<int32_t> all_, closing_;
};

void walk(const std::shared_ptr<MaskCache>& cache, const Drawer& drawer, int32_t stop,
          uint64_t seed, std::vector<double>& times_us) {
  TokenMatcher matcher(cache, {stop});
  Rng rng(seed);
  for (int64_t i = 0; i < kTokensMax; ++i) {
    const double start = thread_s();
    const auto mask = matcher.allowed();
    times_us.push_back((thread_s() - start) * 1e6);
    const int32_t token = has(mask, stop) && rng.below(3) == 0 ? stop : drawer.draw(mask, rng);
    if (token < 0 || !matcher.accept(token))
      fail(ErrorCode::kCorrupt, "walk {}: token {} was allowed and is not taken", seed, token);
    if (token == stop) return;
  }
}

void measure(const Constraint& c, const std::shared_ptr<const TokenVocabulary>& vocabulary,
             int32_t stop, int64_t walk_count) {
  double start = thread_s();
  auto grammar = std::make_shared<const Grammar>(grammar_of(c));
  const double compile_ms = (thread_s() - start) * 1e3;
  const auto cache = std::make_shared<MaskCache>(grammar, vocabulary);
  start = thread_s();
  TokenMatcher(cache, {stop}).allowed();
  const double first_ms = (thread_s() - start) * 1e3;
  std::vector<double> cold, warm;
  const Drawer drawer(*vocabulary);
  for (int64_t i = 0; i < walk_count; ++i)
    walk(cache, drawer, stop, static_cast<uint64_t>(i), cold);
  for (int64_t i = 0; i < walk_count; ++i)
    walk(cache, drawer, stop, static_cast<uint64_t>(walk_count + i), warm);
  std::sort(cold.begin(), cold.end());
  std::sort(warm.begin(), warm.end());
  const auto share = [](const std::vector<double>& v, double s) {
    return v[static_cast<size_t>(s * static_cast<double>(v.size() - 1))];
  };
  std::printf(
      "{\"constraint\": \"%s\", \"vocabulary\": %lld, \"masks\": %zu, \"compile_ms\": %.2f, "
      "\"first_mask_ms\": %.2f, \"warming_max_ms\": %.2f, \"median_us\": %.2f, \"p95_us\": %.2f, "
      "\"p99_us\": %.1f, \"max_us\": %.0f, \"states\": %lld, \"grammar_kb\": %lld, \"views\": "
      "%lld, "
      "\"cache_kb\": %lld}\n",
      c.name, static_cast<long long>(vocabulary->size()), warm.size(), compile_ms, first_ms,
      cold.back() / 1e3, share(warm, 0.5), share(warm, 0.95), share(warm, 0.99), warm.back(),
      static_cast<long long>(grammar->state_count()),
      static_cast<long long>(grammar->size_bytes() / 1024),
      static_cast<long long>(cache->view_count()),
      static_cast<long long>(cache->cached_bytes() / 1024));
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  double start = thread_s();
  std::shared_ptr<const TokenVocabulary> vocabulary;
  int32_t stop = kVocabSize - 1;
  if (argc > 1 && argv[1][0] != '\0') {
    const Tokenizer tokenizer = Tokenizer::load(argv[1]);
    vocabulary = std::make_shared<TokenVocabulary>(tokenizer, tokenizer.vocab_size());
    stop = tokenizer.eos_id().value_or(0);
  } else {
    vocabulary = synthetic_vocabulary();
    start = thread_s();
    std::vector<TokenBytes> copy(vocabulary->trie().tokens().begin(),
                                 vocabulary->trie().tokens().end());
    const TokenVocabulary again(std::move(copy), kVocabSize);
  }
  std::printf("{\"vocabulary\": %lld, \"tree_ms\": %.1f, \"tree_kb\": %lld}\n",
              static_cast<long long>(vocabulary->size()), (thread_s() - start) * 1e3,
              static_cast<long long>(vocabulary->trie().size_bytes() / 1024));
  std::fflush(stdout);
  const int64_t walk_count = argc > 2 ? std::atoll(argv[2]) : 20;
  for (const Constraint& c : kConstraints) measure(c, vocabulary, stop, walk_count);
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) { return dure::bench_main(dure::run, argc, argv); }
