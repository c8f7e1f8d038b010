// What users bring: joined and marked files, other forms of conversations, prepared corpora; and
// conversations against the length of a row.
#include "data/records.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/testing.h"
#include "data/corpus.h"
#include "data/input.h"
#include "data/inspect.h"
#include "data/python_json.h"
#include "data/row_fit.h"
#include "text/chat.h"

namespace dure {
namespace {

using namespace std::string_literals;

std::string gzip_of(const TemporaryFolder& folder, const std::string& text) {
  write_file(folder.path() / "plain", text);
  const std::string here = folder.path().string();
  EXPECT_EQ(std::system(("gzip -nc '" + here + "/plain' > '" + here + "/packed'").c_str()), 0);
  return read_file(folder.path() / "packed");
}

struct Read {
  Record record;
  std::string problem;  // "" where it is good.
};

std::vector<Read> read_all(const Path& path) {
  std::vector<Read> out;
  JsonlReader reader(path);
  Record record;
  for (auto outcome = reader.next(record); outcome != JsonlReader::Outcome::kEnd;
       outcome = reader.next(record)) {
    const bool bad = outcome == JsonlReader::Outcome::kBad;
    out.push_back({record, bad ? reader.problem() : ""});
  }
  return out;
}

Read read_one(const TemporaryFolder& folder, const std::string& line) {
  write_file(folder.path() / "one.jsonl", line + "\n");
  const std::vector<Read> all = read_all(folder.path() / "one.jsonl");
  EXPECT_EQ(all.size(), 1u) << line;
  return all.at(0);
}

std::set<std::string> texts_of(const Path& path) {
  std::set<std::string> texts;
  for (const Read& read : read_all(path)) texts.insert(read.record.text + read.record.messages);
  return texts;
}

CorpusOptions options_for(const Path& path, double heldout_fraction) {
  CorpusOptions options;
  options.sources.push_back({.paths = {path.string()}, .heldout_fraction = heldout_fraction});
  return options;
}

TEST(Input, JoinedGzipMembersAreAllRead) {
  const TemporaryFolder folder;
  const std::string one = gzip_of(folder, "one\n"), two = gzip_of(folder, "two\n");
  const std::string empty = gzip_of(folder, ""), big = gzip_of(folder, std::string(3000000, 'x'));
  const Path path = folder.path() / "a.txt.gz";
  write_file(path, one + two + empty + one + std::string(700, '\0'));
  EXPECT_EQ(read_input(path), "one\ntwo\none\n");
  write_file(path, big + two);
  EXPECT_EQ(read_input(path), std::string(3000000, 'x') + "two\n");
  for (const std::string& torn :
       {one + two.substr(0, two.size() - 1), one + "\x1f"s, one + "rubbish", one + "\0\0x"s,
        one.substr(0, one.size() - 8) + std::string(8, '\1')}) {
    write_file(path, torn);
    EXPECT_NE(message_of([&] { read_input(path); }).find(path.string()), std::string::npos);
  }
}

TEST(Input, ByteOrderMarksGoAndOtherEncodingsAreNamed) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a.txt";
  write_file(path, "\xEF\xBB\xBFtext");
  EXPECT_EQ(read_input(path), "text");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\xFF\xFEt\0e\0"s, "UTF-16"},
      {"\xFE\xFF\0t\0e"s, "UTF-16"},
      {"\xFF\xFE\0\0t\0\0\0"s, "UTF-32"},
      {"t\0e\0x\0t\0"s, "UTF-16LE"},
      {"\0t\0e\0x\0t"s, "UTF-16BE"},
      {gzip_of(folder, "text"), "should end in .gz"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"},
      {"PK\x03\x04zip", "a zip archive"},
      {"PAR1\x15", "a Parquet table"}};
  for (const auto& [bytes, part] : cases) {
    write_file(path, bytes);
    EXPECT_NE(message_of([&] { read_input(path); }).find(part), std::string::npos) << part;
    LineReader lines(path);
    std::string line;
    EXPECT_NE(message_of([&] { lines.next(line); }).find(part), std::string::npos) << part;
  }
  const std::string marked = "\xEF\xBB\xBF{\"text\":\"one\"}\n";
  write_file(folder.path() / "a.jsonl", marked + marked);
  EXPECT_EQ(texts_of(folder.path() / "a.jsonl"), std::set<std::string>{"one"});
  EXPECT_EQ(read_all(folder.path() / "a.jsonl").size(), 2u);
}

// json.dumps writes these, and a record is not lost for them.
TEST(Records, WhatPythonWritesIsRead) {
  const TemporaryFolder folder;
  const std::pair<const char*, const char*> cases[] = {
      {R"({"text":"NaN, Infinity","score":NaN,"low":-Infinity,"high":[Infinity]})",
       "NaN, Infinity"},
      {R"({"text":"a","id":123456789012345678901234567890})", "a"},
      {R"({"text":"a","x":1e999,"y":-1.5e-3,"z":12345678901234567890})", "a"},
      {R"({"text":"half \ud83d of it, \udE00, both \ud83d\ude00 \u00e9 \\ud83d"})",
       "half \uFFFD of it, \uFFFD, both \U0001F600 \u00E9 \\ud83d"},
      {R"({"text":"cut \ud83d"})", "cut \uFFFD"}};
  for (const auto& [line, text] : cases) {
    const Read read = read_one(folder, line);
    EXPECT_EQ(read.problem, "") << line;
    EXPECT_EQ(read.record.text, text) << line;
  }
  EXPECT_EQ(strict_json(R"({"text":"plain NaN","n":-12.5e3,"t":"\ud83d\ude00"})"), std::nullopt);
  EXPECT_EQ(strict_json(R"([NaN,-Infinity,1234567890123456789,"\ud83d)"),
            R"([null,null,1234567890123456789e0,"\ufffd)");
  for (const char* torn : {R"({"text":"a","n":N)", R"({"text":"a\u)", R"({"text":"a\)"})
    EXPECT_NE(read_one(folder, torn).problem, "") << torn;
}

TEST(Records, AKeyThatComesTwiceIsRefused) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_one(folder, R"({"text":"a","text":"b"})").problem, "the key 'text' comes twice");
}

TEST(Records, NullIsAbsentAndMetadataOfAnotherTypeIgnored) {
  const TemporaryFolder folder;
  const std::string chat = R"([{"role":"user","content":"u"},{"role":"assistant","content":"a"}])";
  EXPECT_EQ(read_one(folder, R"({"text":"x","messages":null})").record.text, "x");
  EXPECT_EQ(read_one(folder, R"({"text":null,"messages":)" + chat + "}").record.messages, chat);
  for (const char* field : {R"("source":5)", R"("language":["en"])", R"("source":{"url":"x"})"}) {
    const Read read = read_one(folder, R"({"text":"x",)" + std::string(field) + "}");
    EXPECT_EQ(read.problem, "") << field;
    EXPECT_EQ(read.record.language + read.record.source, "") << field;
  }
  EXPECT_EQ(read_one(folder, R"({"text":null})").problem, "neither 'text' nor 'messages'");
}

// One validation: these were once good for preparing and then stopped training.
TEST(Records, WhatTrainingCouldNotReadIsRefused) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> answers = {
      {R"("content":null,"tool_calls":[{"function":{"name":"f","arguments":[1]}}])", "arguments"},
      {R"("content":null,"tool_calls":[{"function":{"name":"f","arguments":"x"}}])", "arguments"},
      {R"("content":null,"tool_calls":[{"function":{"name":"f","arguments":"[1]"}}])", "object"},
      {R"("content":null,"tool_calls":[{}])", "a name"},
      {R"("content":null,"tool_calls":[{"function":{"name":null}}])", "a name"},
      {R"("content":null,"tool_calls":"x")", "tool_calls"},
      {R"("content":null,"tool_calls":null)", "neither 'content' nor 'tool_calls'"},
      {R"("content":null,"tool_calls":[])", "neither 'content' nor 'tool_calls'"},
      {R"("content":" \n")", "empty"},
      {R"("content":[{"type":"image_url","image_url":{"url":"x"}}])", "image_url"},
      {R"("content":[{"type":"text","text":null}])", "no text"},
      {R"("content":"a","reasoning_content":5)", "reasoning_content"},
      {R"("content":"a","weight":0.5)", "weight is 0.5"},
      {R"("content":"a","train":"no")", "train is \"no\""},
      {R"("content":"a","weight":0)", "nothing to learn"},
      {R"("content":"a","function_call":{"name":"f"})", "function_call"}};
  for (const auto& [answer, part] : answers) {
    const Read read = read_one(folder, R"({"messages":[{"role":"user","content":"q"},)"
                                       R"({"role":"assistant",)" +
                                           answer + "}]}");
    EXPECT_NE(read.problem.find(part), std::string::npos) << answer << ": " << read.problem;
  }
}

TEST(Records, OtherFormsOfConversationsAreReadOrGetAHint) {
  const TemporaryFolder folder;
  const std::string chat = R"([{"role":"user","content":"q"},{"role":"assistant","content":"a"}])";
  for (const char* line :
       {R"({"prompt":"q","completion":"a"})", R"({"instruction":"q","input":"","output":"a"})",
        R"({"instruction":"q","response":"a"})",
        R"({"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]})",
        R"({"conversations":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})",
        R"({"messages":[{"from":"user","value":"q"},{"from":"assistant","value":"a"}]})"}) {
    const Read read = read_one(folder, line);
    EXPECT_EQ(read.problem, "") << line;
    EXPECT_EQ(read.record.messages, chat) << line;
  }
  EXPECT_EQ(read_one(folder, R"({"instruction":"q","input":"i","output":"a","system":"s"})")
                .record.messages,
            R"([{"role":"system","content":"s"},{"role":"user","content":"q\n\ni"},)"
            R"({"role":"assistant","content":"a"}])");
  // TRL's conversational form: the completion alone is learnt.
  EXPECT_EQ(
      read_one(folder, R"({"prompt":[{"role":"assistant","content":"b"}],)"
                       R"("completion":[{"role":"assistant","content":"a"}]})")
          .record.messages,
      R"([{"role":"assistant","content":"b","weight":0},{"role":"assistant","content":"a"}])");
  for (const auto& [line, part] : std::vector<std::pair<std::string, std::string>>{
           {R"({"question":"q","answer":"a"})", "write it as"},
           {R"({"prompt":"q","response":"a"})", "'completion'"},
           {R"({"prompt":"q","chosen":"a","rejected":"b"})", "preference"},
           {R"({"conversations":[{"from":"function_call","value":"a"}]})", "tool_calls"},
           {R"({"instruction":"q","output":5})", "'output' is not a string"}}) {
    const Read read = read_one(folder, line);
    EXPECT_NE(read.problem.find(part), std::string::npos) << line << ": " << read.problem;
  }
}

TEST(Records, ToolsAreCarriedAndUnknownKeysCounted) {
  const TemporaryFolder folder;
  const std::string messages =
      R"("messages":[{"role":"user","content":"q","mood":"calm","audio":null},)"
      R"({"role":"assistant","content":"a","mood":"calm","weight":1}])";
  const std::string tools = R"([{"type":"function","function":{"name":"f"}}])";
  for (const std::string& given : {tools, json_quote(tools)}) {
    const Read read = read_one(folder, "{" + messages + ",\"tools\":" + given + "}");
    EXPECT_EQ(read.problem, "");
    EXPECT_EQ(read.record.tools, tools);
    EXPECT_NE(record_line(read.record).find("\"tools\":" + tools), std::string::npos);
  }
  for (const char* none : {"null", "[]", "\"\"", "\"null\""})
    EXPECT_EQ(read_one(folder, "{" + messages + ",\"tools\":" + none + "}").record.tools, "");
  EXPECT_NE(read_one(folder, "{" + messages + R"(,"tools":5})").problem.find("'tools'"),
            std::string::npos);
  write_file(folder.path() / "a.jsonl", "{" + messages + "}\n");
  const CorpusReport report =
      prepare_corpus(options_for(folder.path() / "a.jsonl", 0), {.out = folder.path() / "out"});
  EXPECT_EQ(report.notes.unknown_keys, (UnknownKeys{{"mood", 2}}));
  EXPECT_EQ(corpus_manifest(folder.path() / "out").at("unknown_keys").at("mood").as_int(), 2);
}

// The assistant's messages as "reasoning|content", another's content alone.
std::vector<std::string> said(const Record& record) {
  std::vector<std::string> out;
  for (const Message& message : messages_from_json(parse_json(record.messages, "test"), "test"))
    out.push_back((message.role == Role::kAssistant ? message.reasoning + "|" : "") +
                  message.content);
  return out;
}

std::string chat_of(const std::vector<std::string>& contents) {
  std::string out;
  for (size_t i = 0; i < contents.size(); ++i)
    out += fmt::format(R"({}{{"role":"{}","content":{}}})", i == 0 ? "" : ",",
                       i % 2 == 0 ? "user" : "assistant", json_quote(contents[i]));
  return "{\"messages\":[" + out + "]}";
}

TEST(Records, ReasoningInsideTheContentIsTakenApart) {
  using Said = std::vector<std::string>;
  const TemporaryFolder folder;
  const auto answer = [&](const std::string& content) {
    const Read read = read_one(folder, chat_of({"q", content}));
    return read.problem.empty() ? said(read.record).at(1) : read.problem;
  };
  EXPECT_EQ(answer("<think>why</think>ans"), "why|ans");
  EXPECT_EQ(answer(" \n<think>\nwhy\nso\n</think>\n\nans "), "why\nso|ans");
  EXPECT_EQ(answer("<think>\n\n</think>\n\nans"), "|ans");
  EXPECT_EQ(answer("why\n</think>\n\nans"), "why|ans");  // It opened in the prompt.
  EXPECT_EQ(answer("</think>\nans"), "|ans");
  EXPECT_EQ(answer("<think>why</think>"), "why|");
  EXPECT_EQ(answer("plain"), "|plain");
  EXPECT_NE(answer("<think>why, and").find("messages[1]: the answer opens <think>"),
            std::string::npos);
  EXPECT_NE(answer("<think></think>").find("answer of the assistant is empty"), std::string::npos);
  // Left as text, and counted: what they mean cannot be told.
  for (const std::string left :
       {"Sure. <think>why</think>ans", "the tag </think> ends it",
        "<think>a</think>b<think>c</think>d", "<thinking>why</thinking>ans",
        "[THINK]why[/THINK]ans", "<|begin_of_thought|>why"})
    EXPECT_EQ(answer(left), "|" + left);
  // Of a user it is what he wrote; every turn counts.
  EXPECT_EQ(said(read_one(folder, chat_of({"<think>u</think>q", "<think>a</think>b", "c",
                                           "<think>d</think>e"}))
                     .record),
            (Said{"<think>u</think>q", "a|b", "c", "d|e"}));
  const auto beside = [&](const char* reasoning) {
    return said(
               read_one(folder,
                        fmt::format(
                            R"({{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant",)"
                            R"("reasoning_content":"{}","content":"<think>why</think>ans"}}]}})",
                            reasoning))
                   .record)
        .at(1);
  };
  EXPECT_EQ(beside("why"), "why|ans");
  EXPECT_EQ(beside("other"), "other|<think>why</think>ans");
  const Read parts = read_one(
      folder, R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":)"
              R"([{"type":"text","text":"<think>why"},{"type":"text","text":"</think>ans"}]}]})");
  EXPECT_EQ(said(parts.record).at(1), "why|ans");
}

TEST(Corpus, ReasoningInsideTheContentIsCounted) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a.jsonl", out = folder.path() / "out";
  write_file(path, chat_of({"q", "<think>why</think>ans", "q2", "<think>why2</think>ans2"}) + "\n" +
                       chat_of({"q", "so <think>a</think>b"}) + "\n" +
                       chat_of({"q", "<think>never"}) + "\n");
  testing::internal::CaptureStderr();
  const CorpusReport report = prepare_corpus(options_for(path, 0), {.out = out});
  const std::string words = testing::internal::GetCapturedStderr();
  EXPECT_NE(words.find("a.jsonl:2: messages[1]: '<think>' in the content"), std::string::npos)
      << words;
  EXPECT_EQ(report.notes.reasoning_split, 2);
  EXPECT_EQ(report.notes.reasoning_left, 1);
  EXPECT_EQ(report.bad.count(), 1);
  const Json manifest = corpus_manifest(out);
  EXPECT_EQ(manifest.at("reasoning_split").as_int(), 2);
  EXPECT_EQ(manifest.at("reasoning_left").as_int(), 1);
  // What was prepared reads as what was given.
  EXPECT_EQ(said(read_all(out / "chat-train.jsonl").at(0).record),
            (std::vector<std::string>{"q", "why|ans", "q2", "why2|ans2"}));
}

TEST(Corpus, JsonFilesAreRecordsAndTablesRefused) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a.json", out = folder.path() / "out";
  const auto prepared = [&](const std::string& content) {
    write_file(path, content);
    prepare_corpus(options_for(path, 0), {.out = out, .force = true});
    return texts_of(train_file(out));
  };
  const std::set<std::string> both = {"one", "two"};
  EXPECT_EQ(prepared("[\n {\"text\": \"one\"},\n {\"text\": \"two\"}\n]\n"), both);
  EXPECT_EQ(prepared("\xEF\xBB\xBF[{\"text\":\"one\\r\\n \"},{\"text\":\"two\"}]"), both);
  EXPECT_EQ(prepared("{\"text\": \"one\"}\n{\"text\": \"two\"}\n"), both);
  EXPECT_EQ(prepared("{\n\"text\": \"one\"\n}\n"), std::set<std::string>{"one"});
  write_file(path, "[{\"text\": \"one\"}, {\"text\": 2}, ");
  EXPECT_NE(message_of([&] { prepare_corpus(options_for(path, 0), {.out = out}); }).find("a.json"),
            std::string::npos);
  write_file(path, "[{\"text\": \"one\"}, {\"text\": 2}]");
  EXPECT_EQ(prepare_corpus(options_for(path, 0), {.out = out}).bad.named().at(0),
            path.string() + ": record 2: 'text' is not a string");
  for (const char* name : {"a.csv", "a.tsv.gz", "a.PARQUET", "a.pdf"}) {
    write_file(folder.path() / name, "a,b\n");
    EXPECT_NE(message_of([&] {
                prepare_corpus(options_for(folder.path() / name, 0), {.out = out});
              }).find("not read"),
              std::string::npos)
        << name;
  }
}

TEST(Corpus, APreparedOneKeepsItsSplitAndIsNeverReplacedByItself) {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 300; ++i) {
    lines += "{\"text\":\"document " + std::to_string(i) + "\"}\n";
    lines += R"({"messages":[{"role":"user","content":")" + std::to_string(i) +
             R"("},{"role":"assistant","content":"a"}]})"
             "\n";
  }
  write_file(folder.path() / "a.jsonl", lines);
  const Path first = folder.path() / "first", again = folder.path() / "again";
  prepare_corpus(options_for(folder.path() / "a.jsonl", 0.2), {.out = first});
  const std::vector<std::string> names = {"train.jsonl", "heldout-und.jsonl", "chat-train.jsonl",
                                          "chat-heldout.jsonl"};
  prepare_corpus(options_for(first, 0.5), {.out = again});
  for (const std::string& name : names)
    EXPECT_EQ(texts_of(again / name), texts_of(first / name)) << name;
  prepare_corpus(options_for(first / "heldout-und.jsonl", 0), {.out = again, .force = true});
  EXPECT_FALSE(path_exists(train_file(again)));
  CorpusOptions all = options_for(first, 0);
  all.sources[0].split = SplitRule::kTrain;
  prepare_corpus(all, {.out = again, .force = true});
  EXPECT_EQ(texts_of(train_file(again)), texts_of(train_file(first)));
  const std::string before = read_file(first / "chat-heldout.jsonl");
  std::filesystem::create_directory_symlink(first, folder.path() / "link");
  for (const Path& input : {first, train_file(first), folder.path() / "link"}) {
    const std::string message =
        message_of([&] { prepare_corpus(options_for(input, 0), {.out = first, .force = true}); });
    EXPECT_NE(message.find("an input of this corpus"), std::string::npos) << message;
  }
  EXPECT_EQ(read_file(first / "chat-heldout.jsonl"), before);
}

TEST(Corpus, WhatElseStandsInItsFolderIsNotDeleted) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a.txt", "one");
  const Path out = folder.path() / "out";
  const CorpusOptions options = options_for(folder.path() / "a.txt", 0);
  prepare_corpus(options, {.out = out});
  make_folders(out / "checkpoints");
  write_file(folder.path() / "a.txt", "two");
  for (const bool force : {false, true}) {
    const std::string message =
        message_of([&] { prepare_corpus(options, {.out = out, .force = force}); });
    EXPECT_NE(message.find("holds more than a prepared corpus (checkpoints)"), std::string::npos)
        << message;
  }
  EXPECT_TRUE(path_exists(out / "checkpoints"));
}

TEST(Corpus, PassesOverItsOwnOutputInAFolderThatIsRead) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a.txt", "one");
  const Path out = folder.path() / "corpus";
  prepare_corpus(options_for(folder.path(), 0), {.out = out});
  EXPECT_TRUE(prepare_corpus(options_for(folder.path(), 0), {.out = out}).reused);
  write_file(folder.path() / "a.txt", "two");
  prepare_corpus(options_for(folder.path(), 0), {.out = out});
  EXPECT_EQ(texts_of(train_file(out)), std::set<std::string>{"two"});
}

TEST(Corpus, TextInJsonlIsTidied) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a.jsonl",
             "{\"text\":\"\\ufeffa  \\r\\n\\n\\n\\nb\\n\"}\n{\"text\":\" \\n\"}\n");
  const CorpusReport report =
      prepare_corpus(options_for(folder.path() / "a.jsonl", 0), {.out = folder.path() / "out"});
  EXPECT_EQ(texts_of(train_file(folder.path() / "out")), std::set<std::string>{"a\n\nb"});
  EXPECT_EQ(report.bad.count(), 1);
}

TEST(Inspect, LinesOfAFileAreOneSourceAndOnlyTheLargestAreNamed) {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 50; ++i)
    lines += record_line({.text = "x",
                          .messages = "",
                          .language = "en",
                          .source = "many.jsonl:" + std::to_string(i)});
  write_file(folder.path() / "a.jsonl", lines);
  const FileSummary summary = summarise_records(folder.path() / "a.jsonl", 0, 1);
  ASSERT_EQ(summary.sources.size(), 1u);
  EXPECT_EQ(summary.sources.at("many.jsonl").document_count, 50);
  const std::map<std::string, CorpusCount> counts = {{"a", {1, 1}}, {"b", {3, 1}}, {"c", {2, 1}}};
  EXPECT_EQ(largest_counts(counts, 3).at(0).first, "a");
  EXPECT_EQ(largest_counts(counts, 2).at(0).first, "b");
  EXPECT_EQ(largest_counts(counts, 2).size(), 2u);
}

TokenDocument conversation_of(size_t prompt_tokens, size_t answer_tokens) {
  TokenDocument document;
  document.ids.assign(prompt_tokens + answer_tokens, 7);
  document.trained.assign(prompt_tokens, 0);
  document.trained.resize(document.ids.size(), 1);
  return document;
}

// A template of the model's own makes a sample of each answer: conversations are counted, not
// those.
TEST(RowFit, CountsConversations) {
  const auto samples = std::make_shared<MemoryDocuments>(
      std::vector<TokenDocument>{conversation_of(4, 4), conversation_of(4, 20),
                                 conversation_of(4, 30), conversation_of(2, 2)},
      std::vector<int64_t>{1, 1, 1, 2});
  const RowFit fit{.row_tokens = 10, .too_long = TooLong::kRefuse, .name = "c"};
  const std::string message = message_of([&] { fit_rows(samples, fit); });
  EXPECT_NE(message.find("1 of 2 conversations (2 of 4 samples)"), std::string::npos) << message;
}

TEST(RowFit, DropsTruncatesOrRefuses) {
  const auto documents = std::make_shared<MemoryDocuments>(std::vector<TokenDocument>{
      conversation_of(4, 4), conversation_of(4, 20), conversation_of(12, 2)});
  RowFit fit{.row_tokens = 10, .too_long = TooLong::kDrop, .name = "c"};
  EXPECT_EQ(fit_rows(documents, fit), documents);  // The same bits: packing drops and counts.
  fit.too_long = TooLong::kTruncate;
  const auto cut = fit_rows(documents, fit);
  TokenDocument document;
  const size_t lengths[] = {8, 10, 0};  // Of the last only the prompt would be left.
  for (int64_t i = 0; i < 3; ++i) {
    cut->read(i, document);
    EXPECT_EQ(document.ids.size(), lengths[i]);
    EXPECT_EQ(document.trained.size(), lengths[i]);
  }
  fit.too_long = TooLong::kRefuse;
  EXPECT_NE(message_of([&] { fit_rows(documents, fit); }).find("2 of 3"), std::string::npos);
  fit.row_tokens = 24;
  EXPECT_EQ(message_of([&] { fit_rows(documents, fit); }), "(no error)");
  const auto hopeless =
      std::make_shared<MemoryDocuments>(std::vector<TokenDocument>{conversation_of(12, 2)});
  for (const TooLong rule : {TooLong::kDrop, TooLong::kTruncate}) {
    const RowFit strict{.row_tokens = 10, .too_long = rule, .name = "c"};
    EXPECT_NE(message_of([&] { fit_rows(hopeless, strict); }).find("none is left"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace dure
