// The tokenizer's parts by themselves and together: classes, NFC, pieces against the pattern
// itself, BPE against a plain one, added tokens, decoding in pieces, linear time, training against
// a plain trainer, broken files.
#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <time.h>

#include <map>

#include "base/rng.h"
#include "base/testing.h"
#include "text/bpe_trainer.h"
#include "text/detokenizer.h"
#include "text/gguf_vocab.h"
#include "text/nfc.h"
#include "text/unicode.h"

namespace dure {
namespace {

// Text that tries hard: letters of many scripts, marks, every kind of white space, digits, symbols,
// contractions.
std::string random_text(Rng& rng, int64_t length) {
  static const std::vector<std::string> kBits = {"a",         "b",
                                                 "the ",      " the",
                                                 "don't",     "'S",
                                                 "'\u017F",   "'ll",
                                                 "LL",        " ",
                                                 "  ",        "\n",
                                                 "\r",        "\r\n",
                                                 "\t",        "\u3000",
                                                 "\u00A0",    "\u2028",
                                                 "1",         "23",
                                                 "\u00B2",    "!",
                                                 "...",       "/",
                                                 " /",        "#\n",
                                                 "e\u0301",   "\u00E9",
                                                 "\u0301",    "\u0316",
                                                 "\uAC00",    "\u1100\u1161",
                                                 "\u11A8",    "\u4E00",
                                                 "\u3042",    "\U0001F600",
                                                 "\u200D",    "\u0B47\u0B3E",
                                                 "\u0958",    "\u212B",
                                                 "[EOS]",     "<think>",
                                                 "\U0001E4EC"};
  std::string out;
  for (int64_t i = 0; i < length; ++i) {
    if (rng.below(4) != 0) {
      out += kBits[static_cast<size_t>(rng.below(std::ssize(kBits)))];
      continue;
    }
    const char32_t code = static_cast<char32_t>(rng.below(rng.below(2) == 0 ? 0x3000 : 0x110000));
    append_utf8(out, code >= 0xD800 && code < 0xE000 ? U'x' : code);
  }
  return out;
}

const char* kCorpus[] = {"the cat sat on the mat and the cat ran",
                         "the dog sat on the log, and the dog ran",
                         "don't you think it's 1234 o'clock?",
                         "한국의 수도는 서울이다. 한국의 말은 한국어다.",
                         "caf\u00E9 au lait, caf\u00E9 noir",
                         "東京は日本の首都です。日本の首都は東京です。",
                         "  indented\n    more\n",
                         "---- ==== ---- ====",
                         "el perro y el gato; el gato y el perro"};

BpeTrainer small_trainer(int64_t words_size, int64_t vocab_size) {
  BpeTrainerOptions options;
  options.words_size = words_size;
  options.vocab_size = vocab_size;
  BpeTrainer trainer(options);
  for (const char* line : kCorpus) trainer.add(line);
  return trainer;
}

const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer = small_trainer(330, 380).train();
  return tokenizer;
}

TEST(Unicode, RepairsLikePythonAndRust) {
  EXPECT_EQ(repair_utf8("a\xE9z"), "a\uFFFDz");
  EXPECT_EQ(repair_utf8("\xF0\x9F\x98"), "\uFFFD");  // One maximal part.
  EXPECT_EQ(repair_utf8("\xF0\x9F\x98x\xE4\xB8"), "\uFFFDx\uFFFD");
  EXPECT_EQ(repair_utf8("\xC0\x80\xED\xA0\x80\xF5"), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(complete_utf8_prefix("ab\xF0\x9F\x98"), 2u);
  EXPECT_EQ(complete_utf8_prefix("ab\xF0\x41"), 4u);
  EXPECT_EQ(complete_utf8_prefix("ab\xE9"), 2u);
  EXPECT_EQ(complete_utf8_prefix("\x80\x80\x80\x80"), 4u);
}

TEST(Unicode, RepairedRandomBytesAreValid) {
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes;
    for (int64_t n = rng.below(12); n > 0; --n)
      bytes += static_cast<char>(rng.below(2) == 0 ? rng.below(256) : 0xE0 + rng.below(0x15));
    EXPECT_TRUE(is_valid_utf8(repair_utf8(bytes)));
    if (is_valid_utf8(bytes)) {
      EXPECT_EQ(repair_utf8(bytes), bytes);
    }
  }
}

TEST(Nfc, KnownForms) {
  EXPECT_EQ(to_nfc("e\u0301"), "\u00E9");
  EXPECT_EQ(to_nfc("\u1112\u1161\u11AB"), "\uD55C");   // Conjoining jamo to a syllable.
  EXPECT_EQ(to_nfc("\u212B"), "\u00C5");               // A singleton is replaced,
  EXPECT_EQ(to_nfc("\u0958"), "\u0915\u093C");         // an exclusion stays decomposed,
  EXPECT_EQ(to_nfc("a\u0301\u0316"), "\u00E1\u0316");  // a lower class is no obstacle,
  EXPECT_EQ(to_nfc("a\u0316\u0301"), "\u00E1\u0316");  // in either order,
  EXPECT_EQ(to_nfc("a\u0308\u0301"),
            "\u00E4\u0301");              // the same class blocks: no U+01DF-like join,
  EXPECT_EQ(to_nfc("\u0301"), "\u0301");  // and a mark alone stays alone.
}

TEST(Nfc, IsStableAndFastPathAgrees) {
  Rng rng(4);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_text(rng, rng.below(20)), normal = to_nfc(text);
    EXPECT_EQ(to_nfc(normal), normal);
    if (is_nfc_fast(text)) {
      EXPECT_EQ(normal, text);
    }
  }
}

// PCRE2 10.42 has Unicode 14: letters, marks and numbers that came later are none to it.
bool known_to_pcre2(std::string_view text) {
  static const Regex regex("[\\p{L}\\p{M}\\p{N}]", "test");
  std::vector<size_t> ends;
  for (size_t at = 0; at < text.size();) {
    const Char c = CharTable::get().at(text.data() + at);
    ends.clear();
    regex.split(std::string(text.substr(at, static_cast<size_t>(c.length))) + "!", ends);
    if ((ends.size() == 2) != ((c.bits & (kCharLetter | kCharMark | kCharNumber)) != 0))
      return false;
    at += static_cast<size_t>(c.length);
  }
  return true;
}

TEST(PreTokeniser, ScansWhatThePatternSays) {
  Rng rng(5);
  int compared = 0;
  for (const char* pattern : {kWordPattern, kSuperwordPattern}) {
    const PreTokeniser scanner({pattern}, "test");
    ASSERT_NE(scanner.kind(), PreTokeniser::Kind::kPatterns);
    const Regex regex(pattern, "test");
    std::vector<size_t> scanned, matched;
    for (int i = 0; i < 10000; ++i) {
      const std::string text = random_text(rng, rng.below(16));
      if (!known_to_pcre2(text)) continue;
      ++compared;
      scanner.split(text, scanned);
      matched.clear();
      regex.split(text, matched);
      EXPECT_EQ(scanned, matched) << json_quote(text);
    }
  }
  EXPECT_GT(compared, 10000);
}

TEST(PreTokeniser, BadPatternsAreNamed) {
  EXPECT_NE(message_of([] {
              PreTokeniser({"(a"}, "my.json");
            }).find("my.json: pattern (a cannot be used"),
            std::string::npos);
  const PreTokeniser costly({"(a|aa)+$"}, "my.json");
  std::vector<size_t> ends;
  EXPECT_NE(message_of([&] {
              costly.split(std::string(200, 'a') + "c", ends);
            }).find("my.json: pattern (a|aa)+$ is too costly"),
            std::string::npos);
}

TEST(PreTokeniser, EveryGgufPatternCompilesAndKeepsTheText) {
  Rng rng(6);
  std::vector<size_t> ends;
  for (const GgufPreTokeniser& entry : gguf_pretokenisers()) {
    const PreTokeniser pretokeniser({entry.patterns.begin(), entry.patterns.end()}, entry.name);
    for (int i = 0; i < 30; ++i) {
      const std::string text = random_text(rng, 1 + rng.below(30));
      pretokeniser.split(text, ends);
      ASSERT_FALSE(ends.empty());
      EXPECT_EQ(ends.back(), text.size());
      EXPECT_TRUE(std::is_sorted(ends.begin(), ends.end()));
      EXPECT_EQ(std::adjacent_find(ends.begin(), ends.end()), ends.end());
    }
  }
}

// Plain BPE: look at every pair, merge the first of lowest rank, again.
std::vector<int32_t> plain_bpe(const Tokenizer& tokenizer, std::string_view piece) {
  std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>> ranks;
  for (size_t rank = 0; rank < tokenizer.parts().merges.size(); ++rank) {
    const Merge& merge = tokenizer.parts().merges[rank];
    ranks[{merge.left, merge.right}] = {rank, merge.result};
  }
  std::vector<int32_t> ids;
  for (const char b : piece)
    ids.push_back(*tokenizer.token_id(byte_level_text(std::string_view(&b, 1))));
  while (true) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second.first < best) {
        best = found->second.first;
        at = i;
      }
    }
    if (best == SIZE_MAX) return ids;
    ids[at] = ranks[{ids[at], ids[at + 1]}].second;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(Bpe, EqualsPlainBpe) {
  const Tokenizer& tokenizer = small_tokenizer();
  const Bpe bpe(tokenizer.parts().vocab, tokenizer.parts().merges, {});
  EXPECT_NE(bpe.joining_rank(), MergeTable::kNone);  // It has superwords: both phases are at work.
  BpeScratch scratch;
  Rng rng(7);
  std::vector<int32_t> ids;
  for (int i = 0; i < 3000; ++i) {
    std::string piece;
    for (int64_t n = 1 + rng.below(12); n > 0; --n) {
      const std::string_view line = kCorpus[rng.below(std::ssize(kCorpus))];
      const size_t begin = static_cast<size_t>(rng.below(std::ssize(line)));
      piece += line.substr(begin, static_cast<size_t>(rng.below(9)));
    }
    piece = to_nfc(repair_utf8(piece));
    if (piece.empty()) continue;
    ids.clear();
    bpe.encode(piece, piece.data() + piece.size(), ids, scratch);
    ASSERT_EQ(ids, plain_bpe(tokenizer, piece)) << json_quote(piece);
  }
}

TEST(Bpe, MergesThatJoinWordsEarly) {  // A table where a superword comes first: phase one has
                                       // nothing to do, ids stay exact.
  TokenizerParts parts = small_tokenizer().parts();
  std::rotate(parts.merges.begin(), parts.merges.end() - 40, parts.merges.end());
  const Tokenizer tokenizer(parts);
  const Bpe bpe(parts.vocab, parts.merges, {});
  BpeScratch scratch;
  std::vector<int32_t> ids;
  for (const char* line : kCorpus) {
    const std::string_view piece(line);
    ids.clear();
    bpe.encode(piece, piece.data() + piece.size(), ids, scratch);
    EXPECT_EQ(ids, plain_bpe(tokenizer, piece));
  }
}

TEST(Tokenizer, DecodesWhatItEncodes) {
  const Tokenizer& tokenizer = small_tokenizer();
  Rng rng(8);
  for (int i = 0; i < 4000; ++i) {
    const std::string text = random_text(rng, rng.below(24));
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), to_nfc(text)) << json_quote(text);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, {.special_as_text = true})), to_nfc(text));
  }
}

TEST(Tokenizer, InvalidBytesCountAsReplacements) {
  const Tokenizer& tokenizer = small_tokenizer();
  EXPECT_EQ(tokenizer.encode("the\xFF cat\xE9"), tokenizer.encode("the\uFFFD cat\uFFFD"));
}

TEST(Tokenizer, SuperwordsCrossSpacesAndNfcJoins) {
  const Tokenizer& tokenizer = small_tokenizer();
  int64_t superwords = 0;
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    superwords += tokenizer.token_bytes(id).find(' ', 1) != std::string_view::npos;
  EXPECT_GT(superwords, 3);
  // A superword is one token in its clause; two spaces break it.
  const auto pieces = [&](std::string_view text) {
    std::vector<std::string> out;
    for (const int32_t id : tokenizer.encode(text)) out.emplace_back(tokenizer.token_bytes(id));
    return out;
  };
  EXPECT_EQ(pieces("sat on the"), (std::vector<std::string>{"sat", " on the"}));
  EXPECT_GT(pieces("sat on  the").size(), 2u);
  EXPECT_EQ(tokenizer.encode("cafe\u0301"), tokenizer.encode("caf\u00E9"));
}

TEST(Tokenizer, SpecialTokens) {
  const Tokenizer& tokenizer = small_tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode("a<think>b</think>[EOS]");
  EXPECT_EQ(ids[1], *tokenizer.token_id("<think>"));
  EXPECT_EQ(ids.back(), *tokenizer.token_id("[EOS]"));
  EXPECT_EQ(tokenizer.decode(ids, {.skip_special = true}), "ab");
  EXPECT_GT(tokenizer.encode("<think>", {.special_as_text = true}).size(), 1u);
  EXPECT_EQ(tokenizer.eos_id(), tokenizer.token_id("<|endofturn|>"));
  EXPECT_EQ(tokenizer.pad_id(), 0);
  EXPECT_TRUE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.is_special(-1));
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{-5, 1 << 30}), "");
}

TEST(AddedTokens, FlagsAndLongestMatch) {
  std::vector<AddedToken> tokens = {{.id = 1, .content = "<a>"},
                                    {.id = 2, .content = "<a>b"},
                                    {.id = 3, .content = "<l>", .lstrip = true},
                                    {.id = 4, .content = "<r>", .rstrip = true},
                                    {.id = 5, .content = "word", .single_word = true}};
  std::vector<std::string> contents;
  for (const AddedToken& token : tokens) contents.push_back(token.content);
  const AddedTokenFinder finder(tokens, contents);
  const auto show = [&](std::string_view text) {
    std::vector<TextSpan> spans;
    finder.split(text, false, spans);
    std::string out;
    for (const TextSpan& span : spans)
      out += fmt::format("{}:{}|", span.id, text.substr(span.begin, span.end - span.begin));
    return out;
  };
  EXPECT_EQ(show("x<a>b<a>c"), "-1:x|2:<a>b|1:<a>|-1:c|");
  EXPECT_EQ(show("x \t<l> y"), "-1:x|3: \t<l>|-1: y|");
  EXPECT_EQ(show("x <r>\u3000\n y"), "-1:x |4:<r>\u3000\n |-1:y|");
  EXPECT_EQ(show("word words sword word"), "5:word|-1: words sword |5:word|");
  EXPECT_EQ(show("<r> <l>"), "4:<r> |3:<l>|");
  EXPECT_EQ(show(""), "");
}

TEST(Detokenizer, EqualsDecodeForEveryCut) {
  const Tokenizer& tokenizer = small_tokenizer();
  Rng rng(9);
  for (int i = 0; i < 2000; ++i) {
    std::vector<int32_t> ids = tokenizer.encode(random_text(rng, rng.below(12)));
    for (int32_t& id : ids) {  // Broken sequences too: any byte may follow any other.
      if (rng.below(3) == 0) id = static_cast<int32_t>(rng.below(tokenizer.vocab_size()));
    }
    Detokenizer detokenizer(tokenizer);
    std::string text;
    for (const int32_t id : ids) {
      const std::string piece = detokenizer.push(id);
      ASSERT_TRUE(is_valid_utf8(piece));
      text += piece;
    }
    ASSERT_EQ(text + detokenizer.flush(), tokenizer.decode(ids));
    EXPECT_FALSE(detokenizer.waiting());
  }
}

// Of this thread's own processor time: other programs on the machine do not count.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double start = thread_seconds();
    tokenizer.encode(text);
    best = std::min(best, thread_seconds() - start);
  }
  return best;
}

// Eight times the text may take 24 times as long (the logarithm, caches, a busy machine): quadratic
// would take 64.
TEST(Tokenizer, LongLinesTakeLinearTime) {
  const Tokenizer& tokenizer = small_tokenizer();
  for (const char* unit : {"a", "ab ", "\uAC00", " ", "\u0301\u0316", "the cat ", "\u6771\u4EAC",
                           "-", "\n ", "<thin"}) {
    std::string text;
    while (text.size() < 128 * 1024) text += unit;
    std::string longer;
    for (int i = 0; i < 8; ++i) longer += text;
    const double base_s = std::max(seconds_to_encode(tokenizer, text), 1e-3);
    EXPECT_LT(seconds_to_encode(tokenizer, longer), 24 * base_s) << json_quote(unit);
  }
}

// Greedy training by recounting everything for each merge.
std::vector<std::string> plain_training(const std::vector<std::string>& lines,
                                        const std::string& pattern, size_t merge_count,
                                        std::map<std::string, int>& order) {
  std::vector<std::vector<std::string>> pieces;
  const PreTokeniser pretokeniser({pattern}, "test");
  std::vector<size_t> ends;
  for (const std::string& line : lines) {
    pretokeniser.split(line, ends);
    size_t begin = 0;
    for (const size_t end : ends) {
      std::vector<std::string> symbols;
      for (; begin < end; ++begin) symbols.push_back(line.substr(begin, 1));
      pieces.push_back(symbols);
    }
  }
  std::vector<std::string> merges;
  while (merges.size() < merge_count) {
    std::map<std::pair<int, int>, int64_t> counts;
    std::map<int, std::string> names;
    for (const auto& [name, id] : order) names[id] = name;
    for (const auto& piece : pieces) {
      for (size_t i = 0; i + 1 < piece.size(); ++i)
        ++counts[{order.at(piece[i]), order.at(piece[i + 1])}];
    }
    if (counts.empty()) break;
    auto best = counts.begin();
    for (auto it = counts.begin(); it != counts.end(); ++it) {
      if (it->second > best->second) best = it;
    }
    const std::string left = names[best->first.first], right = names[best->first.second];
    order.emplace(left + right, static_cast<int>(order.size()));
    merges.push_back(left + "|" + right);
    for (auto& piece : pieces) {
      std::vector<std::string> next;
      for (size_t i = 0; i < piece.size(); ++i) {
        const bool pair = i + 1 < piece.size() && piece[i] == left && piece[i + 1] == right;
        next.push_back(pair ? left + right : piece[i]);
        i += pair;
      }
      piece = next;
    }
  }
  return merges;
}

TEST(BpeTrainer, EqualsPlainTraining) {
  Rng rng(10);
  for (int round = 0; round < 12; ++round) {
    std::vector<std::string> lines;
    for (int64_t n = 2 + rng.below(8); n > 0; --n) {
      std::string line;
      for (int64_t k = rng.below(60); k > 0; --k) line += std::string(1, "aab -="[rng.below(6)]);
      lines.push_back(line);
    }
    BpeTrainerOptions options;
    options.special_tokens = {};
    options.words_size = options.vocab_size = 256 + 20;
    BpeTrainer trainer(options);
    for (const std::string& line : lines) trainer.add(line);
    const Tokenizer trained = trainer.train();
    std::map<std::string, int> order;
    for (int32_t id = 0; id < 256; ++id) order[std::string(trained.token_bytes(id))] = id;
    std::vector<std::string> merges;
    for (const Merge& merge : trained.parts().merges) {
      merges.push_back(
          fmt::format("{}|{}", trained.token_bytes(merge.left), trained.token_bytes(merge.right)));
    }
    EXPECT_EQ(merges, plain_training(lines, kWordPattern, merges.size(), order));
  }
}

TEST(BpeTrainer, RefusesWhatCannotBe) {
  EXPECT_NE(message_of([] {
              BpeTrainer trainer({.vocab_size = 100});
            }).find("a vocabulary of 100; from 274"),
            std::string::npos);
  EXPECT_NE(message_of([] { small_trainer(500, 400); }).find("500 tokens after stage one"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              BpeTrainer({.special_tokens = {"x", "x"}}).train();
            }).find("'x' is empty or given twice"),
            std::string::npos);
}

TEST(TokenizerJson, RoundTripThroughFiles) {
  const TemporaryFolder folder;
  const Tokenizer& tokenizer = small_tokenizer();
  tokenizer.save(folder.path() / "t");
  const Tokenizer again = Tokenizer::load(folder.path() / "t");
  EXPECT_EQ(again.to_json(), tokenizer.to_json());
  EXPECT_EQ(again.eos_id(), tokenizer.eos_id());
  EXPECT_EQ(again.to_config_json(), tokenizer.to_config_json());
  const Tokenizer gguf = Tokenizer::from_gguf(tokenizer.to_gguf(), "gguf");
  Rng rng(11);
  for (int i = 0; i < 300; ++i) {
    const std::string text = random_text(rng, rng.below(16));
    EXPECT_EQ(gguf.encode(text), tokenizer.encode(text));
  }
}

// A whole, tiny tokenizer.json with one place to break.
std::string file_with(const std::string& from, const std::string& to) {
  std::string text = small_tokenizer().to_json();
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(TokenizerJson, BrokenFilesAreNamed) {
  const auto message = [](const std::string& text) {
    return message_of([&] { Tokenizer::from_json(text, "t.json"); });
  };
  const std::string whole = small_tokenizer().to_json();
  EXPECT_EQ(message(whole), "(no error)");
  EXPECT_NE(message(whole.substr(0, whole.size() / 2)).find("t.json: not JSON"), std::string::npos);
  EXPECT_NE(message("").find("t.json: not JSON"), std::string::npos);
  EXPECT_NE(message("[]").find("should be an object"), std::string::npos);
  EXPECT_NE(message("{}").find("'model' is missing"), std::string::npos);
  EXPECT_NE(message(file_with("\"BPE\"", "\"Unigram\"")).find("model: type Unigram"),
            std::string::npos);
  EXPECT_NE(message(file_with("\"NFC\"", "\"NFKC\"")).find("normalizer: type NFKC"),
            std::string::npos);
  EXPECT_NE(message(file_with("\"Split\"", "\"Metaspace\"")).find("type Metaspace"),
            std::string::npos);
  EXPECT_NE(message(file_with("\"!\": 18", "\"!\": 17")).find("the same id 17"), std::string::npos);
  EXPECT_NE(message(file_with("\"!\": 18", "\"!\": 99999999")).find("has the id 99999999"),
            std::string::npos);
  EXPECT_NE(message(file_with("\"!\": 18", "\"!\": -1")).find("has the id -1"), std::string::npos);
  EXPECT_NE(
      message(file_with("\"!\": 18", "\"!\": \"x\"")).find("model.vocab: should be an integer"),
      std::string::npos);
  EXPECT_NE(message(file_with("\"merges\": [", "\"merges\": [\"nospace\","))
                .find("merge 0 is \"nospace\""),
            std::string::npos);
  EXPECT_NE(
      message(file_with("\"merges\": [", "\"merges\": [\"zq zq\",")).find("needs the token \"zq\""),
      std::string::npos);
  EXPECT_NE(message(file_with("\"merges\": [", "\"merges\": [[\"a\"],")).find("has 1 parts"),
            std::string::npos);
  EXPECT_NE(message(file_with("(?i:", "(?i:(")).find("cannot be used"), std::string::npos);
}

// The small tokenizer's file with these added tokens after its own.
std::string with_added(const std::string& entries) {
  const std::string text = small_tokenizer().to_json();
  const size_t at = text.find("],\n  \"normalizer\"");
  EXPECT_NE(at, std::string::npos);
  return text.substr(0, at) + ", " + entries + text.substr(at);
}

TEST(TokenizerJson, AddedTokensAreNumberedOneAfterAnother) {
  const int32_t size = static_cast<int32_t>(small_tokenizer().vocab_size());
  const auto entry = [](int32_t id, const std::string& content) {
    return fmt::format(R"({{"id": {}, "content": "{}", "special": true}})", id, content);
  };
  const Tokenizer order = Tokenizer::from_json(
      with_added(entry(size + 1, "<a>") + ", " + entry(size, "<b>")), "t.json");
  EXPECT_EQ(order.encode("<a><b>"), (std::vector<int32_t>{size, size + 1}));
  const Tokenizer gap = Tokenizer::from_json(with_added(entry(size + 52, "<g>")), "t.json");
  EXPECT_EQ(gap.encode("<g>"), std::vector<int32_t>{size});
  EXPECT_EQ(gap.vocab_size(), size + 1);
  EXPECT_EQ(Tokenizer::from_json(gap.to_json(), "t.json").encode("<g>"),
            std::vector<int32_t>{size});
}

TEST(TokenizerJson, TokensThatOnlyTheConfigAdds) {
  const int32_t size = static_cast<int32_t>(small_tokenizer().vocab_size());
  const auto encode = [](const char* config, const char* text) {
    TokenizerParts parts = read_tokenizer_json(small_tokenizer().to_json(), "t.json");
    read_tokenizer_config(parts, parse_json(config, "c.json"), "c.json");
    return Tokenizer(std::move(parts)).encode(text);
  };
  using Ids = std::vector<int32_t>;
  // What transformers 5.15 gives.
  EXPECT_EQ(encode(R"({"extra_special_tokens": ["<a>", "<b>"]})", "<a><b>"), (Ids{size, size + 1}));
  EXPECT_EQ(encode(R"({"extra_special_tokens": {"x": "<a>"}})", "<a>"), Ids{size});
  EXPECT_EQ(encode(R"({"additional_special_tokens": ["<a>"]})", "<a>"), Ids{size});
  EXPECT_EQ(encode(R"({"bos_token": "<new>", "sep_token": "<sep>"})", "<sep><new>"),
            (Ids{size + 1, size}));
  EXPECT_EQ(encode(R"({"added_tokens_decoder": {"9100": {"content": "<x>", "special": true},
                       "9060": {"content": "<y>"}}, "extra_special_tokens": ["<z>"]})",
                   "<x><y><z>"),
            (Ids{size + 1, size, size + 2}));
  EXPECT_NE(message_of([&] {
              encode(R"({"added_tokens_decoder": {"x": {}}})", "");
            }).find("c.json: added_tokens_decoder.x"),
            std::string::npos);
}

TEST(TokenizerJson, GgufProblemsAreNamed) {
  const GgufVocab good = small_tokenizer().to_gguf();
  const auto message = [](const GgufVocab& vocab) {
    return message_of([&] { Tokenizer::from_gguf(vocab, "m.gguf"); });
  };
  GgufVocab bad = good;
  bad.pre = "nobody";
  EXPECT_NE(message(bad).find("'nobody', a pattern"), std::string::npos);
  bad = good;
  bad.model = "llama";
  EXPECT_NE(message(bad).find("only 'gpt2'"), std::string::npos);
  bad = good;
  bad.merges.push_back("a");
  EXPECT_NE(message(bad).find("two tokens with a space"), std::string::npos);
  bad = good;
  bad.merges.insert(bad.merges.begin(), "");
  EXPECT_NE(message(bad), "");
  bad = good;
  bad.eos_id = 1 << 20;
  EXPECT_NE(message(bad).find("outside the vocabulary"), std::string::npos);
}

// Some writers set the flag and give no id, or one of all ones.
TEST(Gguf, AFlagWithoutItsTokenAddsNone) {
  for (const std::optional<int32_t> id : {std::optional<int32_t>(), std::optional<int32_t>(-1)}) {
    GgufVocab vocab = small_tokenizer().to_gguf();
    vocab.add_bos = vocab.add_eos = true;
    vocab.bos_id = vocab.eos_id = id;
    EXPECT_EQ(Tokenizer::from_gguf(vocab, "m.gguf").encode("the cat sat"),
              small_tokenizer().encode("the cat sat", {.add_special_tokens = false}));
  }
}

TEST(Gguf, BosPaddingAndAPatternThatIsNotNamed) {
  GgufVocab vocab = small_tokenizer().to_gguf();
  vocab.add_bos = true;
  vocab.bos_id = 0;
  const std::vector<int32_t> plain = small_tokenizer().encode("the cat sat");
  std::vector<int32_t> document = plain;
  document.insert(document.begin(), 0);
  for (int rows = 0; rows < 3; ++rows) {
    vocab.tokens.push_back(fmt::format("[UNUSED{}]", vocab.tokens.size()));
    vocab.token_types.push_back(static_cast<int32_t>(GgufTokenType::kUnused));
  }
  vocab.pre.clear();
  vocab.architecture = "exaone-moe";
  const Tokenizer tokenizer = Tokenizer::from_gguf(vocab, "m.gguf");
  EXPECT_EQ(tokenizer.vocab_size(), small_tokenizer().vocab_size());  // Padding is no token.
  // The file's texts say the same: the beginning, and ids that the library would count otherwise.
  const Tokenizer again = Tokenizer::from_json(tokenizer.to_json(), "t.json");
  for (const Tokenizer* one : {&tokenizer, &again}) {
    EXPECT_EQ(one->encode("the cat sat"), document);
    EXPECT_EQ(one->encode("the cat sat", {.add_special_tokens = false}), plain);
    EXPECT_EQ(one->encode("[EOS]", {.add_special_tokens = false}),
              small_tokenizer().encode("[EOS]"));
  }
}

std::vector<std::string> pieces_of(const char* name, const std::string& text) {
  const GgufPreTokeniser* entry = find_gguf_pretokeniser(name);
  const PreTokeniser cut({entry->patterns.begin(), entry->patterns.end()}, name);
  std::vector<size_t> ends;
  cut.split(text, ends);
  std::vector<std::string> out;
  size_t begin = 0;
  for (const size_t end : ends) {
    out.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return out;
}

// GPT-OSS's (o200k) and Qwen's: letters by case and their contractions, digits by threes or one by
// one, slashes and line breaks behind punctuation.
TEST(PreTokeniser, PatternsOfOtherFamilies) {
  using Pieces = std::vector<std::string>;
  const std::string text = "HelloWorld's XMLHttp 12345 don't\n\n  두레마을 a/b//\n end";
  EXPECT_EQ(pieces_of("gpt-4o", text),
            (Pieces{"Hello", "World's", " XMLHttp", " ", "123", "45", " don't", "\n\n", " ",
                    " 두레마을", " a", "/b", "//\n", " end"}));
  EXPECT_EQ(pieces_of("qwen2", text),
            (Pieces{"HelloWorld", "'s", " XMLHttp", " ", "1", "2", "3", "4", "5", " don", "'t",
                    "\n\n", " ", " 두레마을", " a", "/b", "//\n", " end"}));
}

}  // namespace
}  // namespace dure
