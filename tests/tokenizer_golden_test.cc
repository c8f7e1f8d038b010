// The tokenizer against golden/tokenizer: ids, decoded text, long units and retraining, all exact.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "golden.h"
#include "text/bpe_trainer.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace dure {
namespace {

std::vector<int32_t> ids_of(const Json& list) {
  std::vector<int32_t> ids;
  for (const Json& id : list.as_array()) ids.push_back(static_cast<int32_t>(id.as_int()));
  return ids;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::vector<std::string> strings_of(const Json& list) {
  std::vector<std::string> out;
  for (const Json& item : list.as_array()) out.push_back(item.as_string());
  return out;
}

// Every quantity here is a count of things that differ: 0 is the only good answer.
struct Case {
  Path folder;
  Tokenizer words, superwords;
  explicit Case(const Path& root)
      : folder(root),
        words(Tokenizer::load(root / "words.tokenizer.json")),
        superwords(Tokenizer::load(root / "super.tokenizer.json")) {}
};

class TokenizerGolden : public testing::Test {
 protected:
  golden::Report report{"tokenizer"};
  void same(const std::string& quantity, bool equal, const std::string& where) {
    report.add(quantity, equal ? 0 : 1, where);
    EXPECT_TRUE(equal) << quantity << ": " << where;
  }
};

std::string detokenised(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                        DecodeOptions options) {
  Detokenizer detokenizer(tokenizer, options);
  std::string out;
  for (const int32_t id : ids) out += detokenizer.push(id);
  return out + detokenizer.flush();
}

TEST_F(TokenizerGolden, Vectors) {
  for (const Path& root : golden::roots("tokenizer")) {
    const Case c(root);
    const std::vector<std::string> lines = lines_of(read_file(root / "vectors.jsonl"));
    ASSERT_FALSE(lines.empty()) << root;
    for (size_t i = 0; i < lines.size(); ++i) {
      const std::string where = fmt::format("{}/vectors.jsonl:{}", root.string(), i + 1);
      const Json vector = parse_json(lines[i], where);
      const std::string& text = vector.at("text").as_string();
      const std::vector<int32_t> ids = ids_of(vector.at("super"));
      same("words ids", c.words.encode(text) == ids_of(vector.at("words")), where);
      same("super ids", c.superwords.encode(text) == ids, where);
      same("special as text",
           c.superwords.encode(text, {.special_as_text = true}) ==
               ids_of(vector.at("super_special_as_text")),
           where);
      same("decoded", c.superwords.decode(ids) == vector.at("decoded").as_string(), where);
      same("decoded without special",
           c.superwords.decode(ids, {.skip_special = true}) ==
               vector.at("decoded_without_special").as_string(),
           where);
      same("detokenised", detokenised(c.superwords, ids, {}) == vector.at("decoded").as_string(),
           where);
    }
  }
}

TEST_F(TokenizerGolden, LongUnits) {
  for (const Path& root : golden::roots("tokenizer")) {
    const Case c(root);
    const Json units = load_json(root / "long.json");
    for (const Json& item : units.as_array()) {
      const std::string& unit = item.at("unit").as_string();
      std::string text;
      for (int64_t i = 0; i < item.at("repeat").as_int(); ++i) text += unit;
      const std::vector<int32_t> ids = c.superwords.encode(text);
      const std::string where = fmt::format("{} unit {}", root.string(), json_quote(unit));
      uint64_t hash = 0;
      for (const int32_t id : ids)
        hash = (hash * 1000003 + static_cast<uint64_t>(id)) & ((uint64_t{1} << 61) - 1);
      same("long count", static_cast<int64_t>(ids.size()) == item.at("count").as_int(), where);
      same("long hash", static_cast<int64_t>(hash) == item.at("hash").as_int(), where);
      const std::vector<int32_t> first = ids_of(item.at("first")), last = ids_of(item.at("last"));
      same("long first",
           ids.size() >= first.size() && std::equal(first.begin(), first.end(), ids.begin()),
           where);
      same("long last",
           ids.size() >= last.size() && std::equal(last.rbegin(), last.rend(), ids.rbegin()),
           where);
    }
  }
}

void same_model(const Tokenizer& trained, const Tokenizer& golden, const std::string& where) {
  const auto texts = [](const Tokenizer& tokenizer) {
    std::vector<std::string> out;
    for (const Merge& merge : tokenizer.parts().merges) {
      out.push_back(fmt::format("{} {}", tokenizer.token_text(merge.left),
                                tokenizer.token_text(merge.right)));
    }
    return out;
  };
  EXPECT_EQ(texts(trained), texts(golden)) << where;
  EXPECT_EQ(trained.parts().model_ids, golden.parts().model_ids) << where;
  for (const int32_t id : golden.parts().model_ids)
    EXPECT_EQ(trained.token_text(id), golden.token_text(id)) << where;
  EXPECT_EQ(trained.parts().patterns, golden.parts().patterns) << where;
}

Tokenizer retrained(const Path& root, const Json& training, bool superwords) {
  BpeTrainerOptions options;
  options.words_size = training.at("words_size").as_int();
  options.vocab_size = superwords ? training.at("super_size").as_int() : options.words_size;
  options.special_tokens = strings_of(training.at("special"));
  options.words_pattern = training.at("words_pattern").as_string();
  options.superwords_pattern = training.at("super_pattern").as_string();
  BpeTrainer trainer(options);
  for (const std::string& line : lines_of(read_file(root / "corpus.txt"))) trainer.add(line);
  return trainer.train();
}

TEST_F(TokenizerGolden, Retraining) {
  for (const Path& root : golden::roots("tokenizer")) {
    const Case c(root);
    const Json training = load_json(root / "training.json");
    same_model(retrained(root, training, false), c.words, (root / "words").string());
    same_model(retrained(root, training, true), c.superwords, (root / "super").string());
  }
}

// Both written forms of merges are read; ours writes back what it read.
TEST_F(TokenizerGolden, WritesWhatItRead) {
  for (const Path& root : golden::roots("tokenizer")) {
    const Case c(root);
    for (const Tokenizer* tokenizer : {&c.words, &c.superwords}) {
      const Tokenizer again = Tokenizer::from_json(tokenizer->to_json(), "written again");
      same_model(again, *tokenizer, root.string());
      EXPECT_EQ(again.parts().added, tokenizer->parts().added);
      EXPECT_EQ(again.to_json(), tokenizer->to_json());
    }
  }
}

}  // namespace
}  // namespace dure
