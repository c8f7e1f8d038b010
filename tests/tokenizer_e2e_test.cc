// `dure tokenizer` as a user runs it: files and standard input, one sequence a line, --json,
// any number of threads, and bad input.
#include "base/json.h"
#include "base/rng.h"
#include "program.h"
#include "text/tokenizer.h"

namespace dure {
namespace {

class TokenizerVerb : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    std::string text;
    for (int i = 0; i < 400; ++i)
      text += "the village shares its work 마을이 일을 나눈다 " + std::to_string(i) + "\n";
    write_file(at("book.txt"), text);
    const Outcome outcome =
        run_program("tokenizer train " + at("book.txt") + " --vocab-size 420 --out " + at("t"));
    ASSERT_EQ(outcome.code, 0) << outcome.error;
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string at(const std::string& name) { return (folder_->path() / name).string(); }
  static const Tokenizer& tokenizer() {
    static const Tokenizer loaded =
        Tokenizer::from_json(read_file(at("t") + "/tokenizer.json"), "tokenizer.json");
    return loaded;
  }

  static TemporaryFolder* folder_;
};
TemporaryFolder* TokenizerVerb::folder_ = nullptr;

// Lines that hold anything but a newline: spaces at either end, carriage returns, nothing at all.
std::vector<std::string> odd_lines() {
  std::vector<std::string> lines = {
      "",     "the village",   "  two  spaces  ", "tab\tand\rreturn\r",
      "마을", "<|endofturn|>", "[1,2]",           "\xF0\x9F\x98\x80"};
  Rng rng(5);
  const std::vector<std::string> pieces = {"the", " ",         "village", "나",
                                           "é",   "e\xCC\x81", "0",       "\r"};
  for (int i = 0; i < 300; ++i) {
    std::string line;
    for (int64_t n = rng.between(0, 12); n > 0; --n)
      line += pieces[static_cast<size_t>(rng.below(static_cast<int64_t>(pieces.size())))];
    lines.push_back(line);
  }
  lines.push_back("end");  // An empty last line would need its newline.
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TEST_F(TokenizerVerb, EncodesEveryLineByItselfFromFilesAndStandardInput) {
  const std::vector<std::string> lines = odd_lines();
  const std::string text = joined(lines);
  write_file(at("lines.txt"), text);
  const Outcome file =
      run_program("tokenizer encode " + at("t") + " " + at("lines.txt") + " --json");
  ASSERT_EQ(file.code, 0) << file.error;
  std::istringstream out(file.out);
  std::string line;
  for (const std::string& sequence : lines) {
    ASSERT_TRUE(std::getline(out, line)) << sequence;
    EXPECT_EQ(parse_json(line, "output"), Json::array_of(tokenizer().encode(sequence))) << sequence;
  }
  EXPECT_FALSE(std::getline(out, line)) << line;
  const std::string verb = "tokenizer encode " + at("t") + "/tokenizer.json --json";
  EXPECT_TRUE(run_program(verb, {.input = text}).out == file.out);
  EXPECT_TRUE(run_program(verb + " -", {.input = text}).out == file.out);
  // The last line needs no newline.
  EXPECT_TRUE(run_program(verb, {.input = text.substr(0, text.size() - 1)}).out == file.out);
  EXPECT_EQ(run_program(verb).out, "");
}

TEST_F(TokenizerVerb, ThreadsDoNotChangeAByte) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += joined(odd_lines());
  const std::string verb = "tokenizer encode " + at("t");
  const std::string one = run_program(verb + " --threads 1", {.input = text}).out;
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), std::count(text.begin(), text.end(), '\n'));
  EXPECT_EQ(run_program(verb + " --threads 3", {.input = text}).out, one);
  EXPECT_EQ(run_program(verb, {.input = text, .environment = "DURE_THREADS=2"}).out, one);
}

TEST_F(TokenizerVerb, DecodesWhatItEncoded) {
  const std::vector<std::string> lines = odd_lines();
  std::string text;
  for (const std::string& line : lines) text += tokenizer().decode(tokenizer().encode(line)) + "\n";
  for (const char* json : {"", " --json"}) {
    const Outcome ids = run_program("tokenizer encode " + at("t") + json, {.input = joined(lines)});
    write_file(at("ids.txt"), ids.out);
    const Outcome back = run_program("tokenizer decode " + at("t") + " " + at("ids.txt"));
    ASSERT_EQ(back.code, 0) << back.error;
    EXPECT_EQ(back.out, text);
    const Outcome quoted =
        run_program("tokenizer decode " + at("t") + " --json --threads 2", {.input = ids.out});
    std::istringstream out(quoted.out);
    for (std::string line, again; std::getline(out, line);) {
      again = parse_json(line, "output").as_string();
      EXPECT_EQ(text.substr(0, again.size() + 1), again + "\n");
      text.erase(0, again.size() + 1);
      text += again + "\n";  // Turned round: the second pass begins where the first did.
    }
  }
}

TEST_F(TokenizerVerb, SpecialTokensAreTakenOrSpeltOrLeftOut) {
  const std::string text = "the<|endofturn|>\n", verb = "tokenizer encode " + at("t");
  const Outcome special = run_program(verb, {.input = text}),
                spelt = run_program(verb + " --special-as-text", {.input = text});
  EXPECT_LT(special.out.size(), spelt.out.size());
  const std::string decode = "tokenizer decode " + at("t");
  EXPECT_EQ(run_program(decode, {.input = special.out}).out, text);
  EXPECT_EQ(run_program(decode, {.input = spelt.out}).out, text);
  EXPECT_EQ(run_program(decode + " --skip-special", {.input = special.out}).out, "the\n");
  EXPECT_EQ(run_program(decode + " --skip-special", {.input = spelt.out}).out, text);
}

TEST_F(TokenizerVerb, BadInputIsOneLine) {
  expect_refusal(run_program("tokenizer encode " + at("nowhere"), {.input = "x\n"}), "nowhere");
  expect_refusal(run_program("tokenizer encode " + at("t") + " " + at("nowhere")), "nowhere");
  const std::string decode = "tokenizer decode " + at("t");
  expect_refusal(run_program(decode, {.input = "1 2\n3 x\n"}), "standard input:2: 'x'");
  expect_refusal(run_program(decode, {.input = "999999\n"}), "id 999999 is outside");
  expect_refusal(run_program(decode, {.input = "-1\n"}), "'-1'");
  for (const char* torn : {"[1,2", "1 2]]][", "[1 2]", "[[1,2]]", "[1,2]]", "[1,,2]", "]", "1[2]"})
    expect_refusal(run_program(decode, {.input = "1 2\n" + std::string(torn) + "\n"}),
                   "standard input:2");
  expect_refusal(run_program(decode, {.input = "[3, null]\n"}),
                 "standard input:1: position 1: null is not a token id");
  expect_refusal(run_program("tokenizer encode " + at("t") + " --threads none", {.input = "x\n"}),
                 "none");
}

TEST_F(TokenizerVerb, TrainReplacesNothingUnasked) {
  const std::string train = "tokenizer train " + at("book.txt") + " --vocab-size 420 --out ";
  expect_refusal(run_program(train + at("t")), "--force");
  EXPECT_EQ(run_program(train + at("t") + " --force").code, 0);
  make_folders(at("m"));
  write_file(at("m") + "/config.json", "{}");
  expect_refusal(run_program(train + at("m") + " --force"), "holds a model or a run");
}

}  // namespace
}  // namespace dure
