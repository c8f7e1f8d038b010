// Corpora: extraction of text, reading of every kind of file, splits, and what happens to bad
// input.
#include "data/corpus.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <cstdlib>
#include <map>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/testing.h"
#include "data/input.h"
#include "data/inspect.h"
#include "data/jsonl.h"
#include "data/text_extract.h"

namespace dure {
namespace {

std::string zstd_of(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

// "gzip" is part of every Debian system; the library this reads with is another.
std::string gzip_of(const TemporaryFolder& folder, const std::string& text) {
  write_file(folder.path() / "plain", text);
  const std::string command = "gzip -nc '" + (folder.path() / "plain").string() + "' > '" +
                              (folder.path() / "packed").string() + "'";
  EXPECT_EQ(std::system(command.c_str()), 0);
  return read_file(folder.path() / "packed");
}

std::vector<Record> records_of(const Path& path) {
  std::vector<Record> records;
  for_each_record(path, [&](const Record& record) { records.push_back(record); });
  return records;
}

CorpusOptions options_for(const Path& path) {
  CorpusOptions options;
  options.sources.push_back({.paths = {path.string()}});
  return options;
}

TEST(Html, KeepsProseAndDropsNavigation) {
  const std::string html = R"(<html><head><title>No</title><style>p{}</style></head><body>
    <div class="navheader"><a href="x">Prev</a></div>
    <h1>1.&nbsp;Title</h1>
    <p>Some   <b>bold</b>
       text &amp; more.</p><p>Second<br>line</p>
    <ul><li><p>one</p></li><li>two<ul><li>inner</li></ul></li></ul>
    <ol><li>first</li><li>second</li></ol>
    <pre>
  keep   this
	as is</pre>
    <table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
    <script>alert("no")</script><div class="x navfooter y">Next</div></body></html>)";
  EXPECT_EQ(text_of_html(html, "test"),
            "1. Title\n\nSome bold text & more.\n\nSecond\nline\n\n- one\n- two\n- inner\n\n1. "
            "first\n2. second\n\n  keep   this\n\tas is\n\na | b\n1 | 2");
}

TEST(Html, JoinsBrokenLinesOfJapaneseButNotOfKorean) {
  EXPECT_EQ(text_of_html("<p>日本\n語の\n文</p><p>한국어\n문장</p><p>語\nword</p>", "test"),
            "日本語の文\n\n한국어 문장\n\n語 word");
}

TEST(Html, DeclaredEncodingsAreReadAndUndeclaredOnesRefused) {
  const std::string head =
      "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=ISO-8859-1\"><p>";
  EXPECT_EQ(text_of_html(head + "caf\xe9</p>", "test"), "café");
  EXPECT_NE(
      message_of([] { text_of_html("<p>caf\xe9</p>", "page.html"); }).find("page.html: not UTF-8"),
      std::string::npos);
}

TEST(Html, SurvivesWhatIsNotHtml) {
  Rng rng(1);
  const std::string pieces[] = {"<p>",
                                "</div>",
                                "<",
                                ">",
                                "&",
                                "&#x110000;",
                                "text",
                                "<!--",
                                "-->",
                                "<pre>",
                                "<td>",
                                "<li>",
                                "\xEA\xB0\x80",
                                "<![CDATA[",
                                "<ul>",
                                std::string(1, '\0'),
                                "=\"",
                                "<svg",
                                "\n"};
  for (int i = 0; i < 2000; ++i) {
    std::string html;
    for (int64_t left = rng.below(40); left > 0; --left)
      html += pieces[rng.below(std::ssize(pieces))];
    const std::string message = message_of([&] { EXPECT_TRUE(is_utf8(text_of_html(html, "x"))); });
    EXPECT_TRUE(message == "(no error)" || message.starts_with("x: ")) << message;
  }
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "<div>";
  message_of([&] {
    text_of_html(deep + "x", "deep");
  });  // An Error or a text, in reasonable time and stack.
}

TEST(Markdown, KeepsWordsAndDropsMarks) {
  const std::string markdown =
      "---\ntitle: x\n---\n# Head #\n\nSee [the page](http://x.y/z) and ![picture](p.png)**bold** "
      "`code`.\n\n* one\n* two\n\n> quoted\n\n```c\nint  *x = 0;\n# not a heading\n```\n<!-- "
      "gone\nreally -->\n[ref]: http://x\n***\n1. first\nsnake_case 2 * 3 * 4 \\*\n";
  EXPECT_EQ(text_of_markdown(markdown),
            "Head\n\nSee the page and bold code.\n\n- one\n- two\n\nquoted\n\nint  *x = 0;\n# not "
            "a heading\n\n1. first\nsnake_case 2 * 3 * 4 *");
}

TEST(Text, IsTidied) { EXPECT_EQ(tidy_text("\xEF\xBB\xBF\r\n\na  \r\n\n\n\nb\t\n\n"), "a\n\nb"); }

TEST(Input, ReadsCompressedFilesAndNamesTruncatedOnes) {
  const TemporaryFolder folder;
  std::string text;
  Rng rng(3);
  for (int i = 0; i < 20000; ++i) text += static_cast<char>('a' + rng.below(26));
  for (const char* ending : {".zst", ".gz"}) {
    const std::string packed =
        std::string(ending) == ".zst" ? zstd_of(text) : gzip_of(folder, text);
    const Path path = folder.path() / (std::string("a.txt") + ending);
    write_file(path, packed);
    EXPECT_EQ(read_input(path), text);
    for (const size_t size : {size_t{0}, size_t{1}, size_t{10}, packed.size() / 2,
                              packed.size() - 5, packed.size() - 1}) {
      write_file(path, packed.substr(0, size));
      // An empty .zst holds no frame: an empty input. Everything else is named.
      const std::string message = message_of([&] { read_input(path); });
      if (size > 0 || std::string(ending) == ".gz") {
        EXPECT_NE(message.find(path.string()), std::string::npos) << ending << " cut at " << size;
      }
    }
  }
  write_file(folder.path() / "two.zst", zstd_of("one") + zstd_of("two"));
  EXPECT_EQ(read_input(folder.path() / "two.zst"), "onetwo");
}

TEST(Input, LinesOfAnyLengthAndEnding) {
  const TemporaryFolder folder;
  std::string text, line;
  Rng rng(4);
  std::vector<std::string> expected;
  for (int i = 0; i < 50; ++i) {
    expected.emplace_back(
        static_cast<size_t>(i % 10 == 0 ? rng.between(200000, 700000) : rng.below(100)), 'x');
    text += expected.back() + (i % 2 == 0 ? "\r\n" : "\n");
  }
  expected.push_back("last, without a newline");
  write_file(folder.path() / "a", text + expected.back());
  LineReader lines(folder.path() / "a");
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(lines.next(line));
    ASSERT_EQ(line, expected[i]) << i;
    ASSERT_EQ(lines.number(), static_cast<int64_t>(i) + 1);
  }
  EXPECT_FALSE(lines.next(line));
}

TEST(Jsonl, TellsWhatIsWrongWithEachBadLine) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> lines = {
      {R"({"text": "fine", "language": "en"})", ""},
      {R"({"text": "cut)", "not JSON"},
      {R"({"text": 5})", "'text' is not a string"},
      {R"({"text": ""})", "'text' is empty"},
      {R"({"body": "x"})", "neither 'text' nor 'messages'"},
      {R"([1, 2])", "not an object"},
      {"{\"text\": \"\xff\"}", "not UTF-8"},
      {R"({"text": "x", "language": 7})", ""},
      {R"({"messages": "x"})", "'messages' is a text that is no JSON list"},
      {R"({"messages": {}})", "'messages' is not a list"},
      {R"({"messages": []})", "no message of the assistant"},
      {R"({"messages": [{"role": "user", "content": "q"}]})", "no message of the assistant"},
      {R"({"messages": [{"role": "robot", "content": "q"}]})", "unknown role 'robot'"},
      {R"({"messages": [{"content": "q"}]})", "no 'role'"},
      {R"({"messages": [{"role": "user", "content": 3}]})", "neither a string nor a list"},
      {R"({"messages": [{"role": "user"}]})", "neither 'content' nor 'tool_calls'"},
      {R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})",
       ""},
  };
  std::string text;
  for (const auto& [line, problem] : lines) text += line + "\n\n";
  write_file(folder.path() / "a.jsonl", text);
  JsonlReader reader(folder.path() / "a.jsonl");
  Record record;
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto outcome = reader.next(record);
    EXPECT_EQ(reader.number(), static_cast<int64_t>(2 * i + 1));
    if (lines[i].second.empty()) {
      EXPECT_EQ(outcome, JsonlReader::Outcome::kRecord) << reader.problem();
    } else {
      EXPECT_EQ(outcome, JsonlReader::Outcome::kBad);
      EXPECT_NE(reader.problem().find(lines[i].second), std::string::npos) << reader.problem();
    }
  }
  EXPECT_EQ(reader.next(record), JsonlReader::Outcome::kEnd);
  EXPECT_EQ(record_line({.text = "a\"\n", .messages = "", .language = "en", .source = "s"}),
            "{\"text\":\"a\\\"\\n\",\"language\":\"en\",\"source\":\"s\"}\n");
}

// Under a name that says nothing of records they would be learnt with their braces.
TEST(Corpus, RecordsUnderTheNameOfATextAreNoText) {
  const TemporaryFolder folder;
  const auto prepare = [&](const char* name, const std::string& content) {
    write_file(folder.path() / name, content);
    CorpusOptions options = options_for(folder.path() / name);
    options.sources[0].split = SplitRule::kTrain;
    prepare_corpus(options, {.out = folder.path() / (std::string(name) + "-out")});
    return records_of(train_file(folder.path() / (std::string(name) + "-out"))).at(0).text;
  };
  const std::string record = "{\"text\":\"one\"}\n{\"text\":\"two\"}\n";
  for (const char* name : {"a.txt", "blob"}) {
    const std::string message = message_of([&] { prepare(name, record); });
    EXPECT_NE(message.find("let its name end in .jsonl"), std::string::npos) << message;
  }
  EXPECT_EQ(prepare("a.jsonlines", record), "one");
  EXPECT_EQ(prepare("A.JSONL", record), "one");
  EXPECT_EQ(prepare("code.txt", "{ int x; }\n"), "{ int x; }");
  EXPECT_EQ(prepare("lines.txt", "one\rtwo\r\nthree"), "one\ntwo\nthree");
}

TEST(Corpus, CutsAtParagraphsAndLosesNothing) {
  Rng rng(5);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (int64_t left = rng.between(1, 60); left > 0; --left) {
      const int64_t kind = rng.below(5);
      text += kind == 0   ? "\n\n"
              : kind == 1 ? "\n"
              : kind == 2 ? "한국어"
                          : std::string(static_cast<size_t>(rng.between(1, 30)), 'x');
    }
    text = tidy_text(text);
    const int64_t limit = rng.between(4, 100);
    std::string joined, expected;
    for (const std::string& piece : cut_text(text, limit)) {
      EXPECT_LE(std::ssize(piece), limit);
      EXPECT_TRUE(is_utf8(piece));
      joined += piece;
    }
    const auto without_newlines = [](std::string s) {
      std::erase(s, '\n');
      return s;
    };
    EXPECT_EQ(without_newlines(joined), without_newlines(text));
  }
  EXPECT_EQ(cut_text("aaa\n\nbbb\n\nccc", 9), (std::vector<std::string>{"aaa\n\nbbb", "ccc"}));
}

TEST(Corpus, ChaptersAreNamesWithoutSections) {
  for (const auto& [path, chapter] :
       std::vector<std::pair<const char*, const char*>>{{"x/ch08s01.html", "ch08"},
                                                        {"ch08.html", "ch08"},
                                                        {"apas01.html", "apa"},
                                                        {"apa.html", "apa"},
                                                        {"pr01.html.gz", "pr01"},
                                                        {"s1.html", "s1"}}) {
    EXPECT_EQ(chapter_of(path), chapter);
  }
}

TEST(Corpus, HoldsOutTheSameChaptersInEveryLanguage) {
  const TemporaryFolder folder;
  for (const char* language : {"ko", "en", "fr"}) {
    make_folders(folder.path() / "book" / language);
    for (const char* page :
         {"ch01.html", "ch01s01.html", "ch02.html", "ch02s01.html", "index.html"}) {
      write_file(folder.path() / "book" / language / page,
                 std::string("<p>") + language + " " + page + "</p>");
    }
  }
  CorpusOptions options = options_for(folder.path() / "book");
  CorpusSource& source = options.sources[0];
  source.name = "book";
  source.include = {"*.html"};
  source.exclude = {"index.html"};
  source.languages = {"ko", "en"};
  source.split = SplitRule::kChapter;
  source.heldout_chapters = {"ch02"};
  const CorpusReport report = prepare_corpus(options, {.out = folder.path() / "out"});
  EXPECT_FALSE(report.reused);
  EXPECT_EQ(heldout_languages(folder.path() / "out"), (std::vector<std::string>{"en", "ko"}));
  EXPECT_EQ(records_of(train_file(folder.path() / "out")).size(), 4u);
  const auto heldout = records_of(heldout_file(folder.path() / "out", "ko"));
  ASSERT_EQ(heldout.size(), 2u);
  EXPECT_EQ(heldout[0].source, "book/ko/ch02.html");
  EXPECT_EQ(heldout[0].text, "ko ch02.html");
  source.heldout_chapters = {"ch09"};
  const std::string message =
      message_of([&] { prepare_corpus(options, {.out = folder.path() / "out"}); });
  EXPECT_NE(message.find("no chapter 'ch09' in language 'en'; it has ch01, ch02"),
            std::string::npos)
      << message;
}

TEST(Corpus, SplitsUserFilesByHashWithoutLeaksWhateverTheOrder) {
  const TemporaryFolder folder;
  std::vector<std::string> lines;
  for (int i = 0; i < 3000; ++i)
    lines.push_back("{\"text\":\"document " + std::to_string(i % 2900) + "\"}\n");
  const auto write = [&](const char* name) {
    std::string all;
    for (const std::string& line : lines) all += line;
    write_file(folder.path() / name, all);
  };
  write("a.jsonl");
  Rng rng(1);
  rng.shuffle(lines);
  write("b.jsonl");
  std::set<std::string> held[2];
  for (int i = 0; i < 2; ++i) {
    const Path out = folder.path() / ("out" + std::to_string(i));
    CorpusOptions options = options_for(folder.path() / (i == 0 ? "a.jsonl" : "b.jsonl"));
    options.sources[0].heldout_fraction = 0.1;
    const CorpusReport report = prepare_corpus(options, {.out = out});
    EXPECT_EQ(report.duplicate_count, 100);
    std::set<std::string> trained;
    for (const Record& record : records_of(train_file(out))) trained.insert(record.text);
    for (const Record& record : records_of(heldout_file(out, "und"))) held[i].insert(record.text);
    EXPECT_EQ(trained.size() + held[i].size(), 2900u);
    for (const std::string& text : held[i]) EXPECT_FALSE(trained.contains(text));
  }
  EXPECT_EQ(held[0], held[1]);
  EXPECT_NEAR(static_cast<double>(held[0].size()), 290, 6 * std::sqrt(2900 * 0.1 * 0.9));
}

// Several answers to a question, and a conversation cut at each of its turns.
TEST(Corpus, ConversationsThatOpenAlikeStayOnOneSide) {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 300; ++i) {
    const std::string opening = fmt::format(
        R"({{"role":"system","content":"s"}},{{"role":"user","content":"question {}"}})", i);
    for (int answer = 0; answer < 3; ++answer) {
      const std::string begun =
          opening + fmt::format(R"(,{{"role":"assistant","content":"{}"}})", answer);
      const std::string more =
          R"(,{"role":"user","content":"and?"},{"role":"assistant","content":"so"})";
      lines += R"({"messages":[)" + begun + "]}\n" + R"({"messages":[)" + begun + more + "]}\n";
    }
  }
  write_file(folder.path() / "chats.jsonl", lines);
  CorpusOptions options = options_for(folder.path() / "chats.jsonl");
  options.sources[0].heldout_fraction = 0.2;
  prepare_corpus(options, {.out = folder.path() / "out"});
  const auto questions = [&](const char* name) {
    std::map<std::string, int> out;
    for (const Record& record : records_of(folder.path() / "out" / name))
      out[parse_json(record.messages, "m").at(1).at("content").as_string()] += 1;
    return out;
  };
  const auto learnt = questions("chat-train.jsonl"), held = questions("chat-heldout.jsonl");
  EXPECT_EQ(learnt.size() + held.size(), 300u);
  EXPECT_NEAR(static_cast<double>(held.size()), 60, 6 * std::sqrt(300 * 0.2 * 0.8));
  for (const auto& [question, count] : held) EXPECT_EQ(count, 6) << question;
}

TEST(Corpus, TakesEveryKindOfFileAndCountsBadRecords) {
  const TemporaryFolder folder;
  const Path in = folder.path() / "in";
  make_folders(in / "ja");
  make_folders(in / ".git");
  write_file(in / "a.txt", "plain text");
  write_file(in / "b.md", "# marked *down*");
  write_file(in / "ja" / "c.htm", "<p>日本語</p>");
  write_file(in / "d.jsonl.zst", zstd_of("{\"text\":\"packed\"}\n{\"text\":1}\n"));
  write_file(in / "e.txt", "bad \xff bytes");
  write_file(in / "f.jsonl.zst", zstd_of("{\"text\":\"lost tail\"}\n").substr(0, 12));
  write_file(in / "g.png", "\x89PNG");
  write_file(in / ".git" / "h.txt", "hidden");
  write_file(
      in / "i.jsonl",
      R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"language":"en"})"
      "\n");
  write_file(in / "j.txt", "");
  CorpusOptions options = options_for(in);
  options.sources[0].split = SplitRule::kTrain;
  const CorpusReport report = prepare_corpus(options, {.out = folder.path() / "out"});
  std::set<std::string> texts;
  for (const Record& record : records_of(train_file(folder.path() / "out")))
    texts.insert(record.language + ": " + record.text);
  EXPECT_EQ(texts, (std::set<std::string>{"und: plain text", "und: marked *down*", "ja: 日本語",
                                          "und: packed"}));
  EXPECT_EQ(records_of(folder.path() / "out" / "chat-train.jsonl").size(), 1u);
  EXPECT_EQ(report.skipped_file_count, 1);
  EXPECT_EQ(report.bad.count(), 4);
  std::string named;
  for (const std::string& name : report.bad.named()) named += name + "\n";
  for (const char* part : {"d.jsonl.zst:2: 'text' is not a string", "e.txt: not UTF-8",
                           "f.jsonl.zst", "j.txt: no text in it"}) {
    EXPECT_NE(named.find(part), std::string::npos) << part << " in\n" << named;
  }
  const Json manifest = corpus_manifest(folder.path() / "out");
  EXPECT_EQ(manifest.at("bad_records").as_int(), 4);
}

TEST(Corpus, IsTheSameBytesAgainAndKeptWhileNothingChanges) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a.txt", "text");
  CorpusOptions options = options_for(folder.path() / "a.txt");
  options.tasks.document_count = 300;
  const Path out = folder.path() / "out";
  prepare_corpus(options, {.out = out});
  const std::string train = read_file(train_file(out)), manifest = read_file(out / "manifest.json");
  EXPECT_TRUE(prepare_corpus(options, {.out = out}).reused);
  EXPECT_FALSE(prepare_corpus(options, {.out = out, .force = true}).reused);
  EXPECT_EQ(read_file(train_file(out)), train);
  EXPECT_EQ(read_file(out / "manifest.json"), manifest);
  options.seed = 2;
  EXPECT_NE(message_of([&] { prepare_corpus(options, {.out = out}); }).find("(seed differ)"),
            std::string::npos);
  EXPECT_EQ(read_file(train_file(out)), train);
  EXPECT_FALSE(prepare_corpus(options, {.out = out, .force = true}).reused);
  EXPECT_NE(read_file(train_file(out)), train);
  write_file(folder.path() / "a.txt", "changed text");
  EXPECT_FALSE(prepare_corpus(options, {.out = out}).reused);
}

TEST(Corpus, TaskDocumentsComeFromTheTrainSplitOnly) {
  const TemporaryFolder folder;
  CorpusOptions options;
  options.tasks.document_count = 2000;
  prepare_corpus(options, {.out = folder.path() / "out"});
  std::set<std::string> trained;
  for (const Record& record : records_of(train_file(folder.path() / "out")))
    trained.insert(record.text.substr(0, record.text.find('\n')));
  for (const Problem& problem : make_problem_grid({}, Split::kHeldout, 1, 40))
    EXPECT_FALSE(trained.contains(problem.prompt)) << problem.prompt;
}

TEST(Corpus, RefusesWhatItCannotDoAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  const Path out = folder.path() / "out";
  const auto message_for = [&](const CorpusOptions& options) {
    return message_of([&] { prepare_corpus(options, {.out = out}); });
  };
  CorpusOptions missing = options_for(folder.path() / "none");
  missing.sources[0].hint = "apt-get install it";
  EXPECT_NE(message_for(missing).find("none: apt-get install it"), std::string::npos);
  EXPECT_NE(message_for({}).find("nothing to prepare"), std::string::npos);
  write_file(folder.path() / "bad.txt", "\xff");
  EXPECT_NE(
      message_for(options_for(folder.path() / "bad.txt")).find("no usable document (1 bad records"),
      std::string::npos);
  make_folders(folder.path() / "empty");
  EXPECT_NE(message_for(options_for(folder.path() / "empty")).find("no usable file"),
            std::string::npos);
  EXPECT_FALSE(path_exists(out));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
  make_folders(folder.path() / "mine");
  write_file(folder.path() / "mine" / "thesis.txt", "precious");
  write_file(folder.path() / "good.txt", "text");
  const std::string refused = message_of([&] {
    prepare_corpus(options_for(folder.path() / "good.txt"), {.out = folder.path() / "mine"});
  });
  EXPECT_NE(refused.find("holds something else"), std::string::npos);
  EXPECT_EQ(read_file(folder.path() / "mine" / "thesis.txt"), "precious");
}

TEST(Corpus, UnknownFieldsOfTheConfigurationAreNamed) {
  const auto message_for = [](const char* yaml) {
    return message_of([&] {
      CorpusOptions options;
      from_json(options, parse_yaml(yaml, "d.yaml"), "d.yaml");
      check_corpus_options(options, "d.yaml");
    });
  };
  EXPECT_NE(message_for("sorces: []").find("did you mean 'sources'"), std::string::npos);
  EXPECT_NE(message_for("sources: [{path: x}]").find("'path'"), std::string::npos);
  EXPECT_NE(message_for("sources: [{paths: [x], split: random}]").find("choose one of"),
            std::string::npos);
  EXPECT_NE(message_for("sources: [{paths: [x], heldout_fraction: 2}]").find("from 0 to 1"),
            std::string::npos);
  EXPECT_NE(
      message_for("sources: [{paths: [x], split: chapter}]").find("heldout_chapters is empty"),
      std::string::npos);
  EXPECT_NE(
      message_for("tasks: {document_count: many}").find("document_count should be an integer"),
      std::string::npos);
}

TEST(Inspect, CountsAndSamples) {
  const TemporaryFolder folder;
  std::string lines;
  for (int i = 0; i < 100; ++i)
    lines += record_line({.text = std::string(static_cast<size_t>(1 + i), 'x'),
                          .messages = "",
                          .language = i % 4 == 0 ? "ko" : "en",
                          .source = "a/b"});
  write_file(folder.path() / "a.jsonl", lines);
  const FileSummary summary = summarise_records(folder.path() / "a.jsonl", 5, 1);
  EXPECT_EQ(summary.lengths.count(), 100);
  EXPECT_EQ(summary.lengths.total(), 5050);
  EXPECT_EQ(summary.lengths.longest(), 100);
  EXPECT_EQ(summary.lengths.buckets().at(6), 37);  // 64 .. 100
  EXPECT_EQ(summary.languages.at("ko").document_count, 25);
  EXPECT_EQ(summary.sources.at("a").document_count, 100);
  EXPECT_EQ(summary.samples.size(), 5u);
  EXPECT_EQ(shortened("한국어", 4), "한...");
  EXPECT_EQ(shortened("abc", 3), "abc");
}

}  // namespace
}  // namespace dure
