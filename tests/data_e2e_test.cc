// `dure data` as a user runs it: the quickstart's corpus, looking into it, and bad input: one clear
// line, exit code 2, nothing half-written left.
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <set>

#include "base/json.h"
#include "data/corpus.h"
#include "data/tokenise.h"
#include "program.h"
#include "text/bpe_trainer.h"

namespace dure {
namespace {

Outcome run(const std::string& arguments) { return run_program("data " + arguments); }

// Names in `folder` that a failed command should not have left.
std::set<std::string> leftovers(const Path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name == "out" || name.find(".tmp-") != std::string::npos) names.insert(name);
  }
  return names;
}

TEST(DataVerb, PreparesTheQuickstartsCorpus) {
  if (!path_exists("/usr/share/doc/installation-guide-amd64/ko")) {
    std::printf("skipped: the package installation-guide-amd64 is not installed\n");
    return;
  }
  const TemporaryFolder folder;
  const Path out = folder.path() / "corpus";
  const std::string arguments = "prepare " DURE_SOURCE_DIR "/recipes/nano/data.yaml --out '" +
                                out.string() + "' --set tasks.document_count=500";
  const Outcome outcome = run(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const Json files = corpus_manifest(out).at("files");
  EXPECT_EQ(heldout_languages(out), (std::vector<std::string>{"de", "en", "es", "ja", "ko", "vi"}));
  std::set<std::string> chapters;
  for (const std::string& language : heldout_languages(out)) {
    EXPECT_GT(files.at("heldout-" + language + ".jsonl").at("text_bytes").as_int(), 20000)
        << language;
    std::set<std::string> here;
    for_each_record(heldout_file(out, language), [&](const Record& record) {
      here.insert(chapter_of(record.source));
      EXPECT_EQ(record.language, language);
      EXPECT_EQ(record.text.find("navheader"), std::string::npos) << record.source;
    });
    EXPECT_EQ(here, (std::set<std::string>{"apc", "ch08"})) << language;
  }
  std::map<std::string, int64_t> train_bytes;
  for_each_record(train_file(out), [&](const Record& record) {
    train_bytes[record.language] += std::ssize(record.text);
    if (record.source.starts_with("manual/")) {
      EXPECT_FALSE(chapter_of(record.source) == "ch08" || chapter_of(record.source) == "apc")
          << record.source;
    }
  });
  ASSERT_EQ(train_bytes.size(), 6u);
  for (const auto& [language, bytes] : train_bytes)
    EXPECT_TRUE(bytes > 250000 && bytes < 600000) << language << " " << bytes;
  EXPECT_NE(run(arguments).out.find("already prepared"), std::string::npos);
}

TEST(DataVerb, InspectsFoldersAndShards) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a.txt", "one text\n\nof two paragraphs");
  const std::string in = (folder.path() / "a.txt").string(), out = (folder.path() / "c").string();
  ASSERT_EQ(run("prepare " + in + " --language en --heldout-fraction 0 --out " + out).code, 0);
  const Outcome text = run("inspect " + out);
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("one text"), std::string::npos);
  const Json json = parse_json(run("inspect --json " + out).out, "inspect");
  EXPECT_EQ(json.at("train.jsonl").at("languages").at("en").at("documents").as_int(), 1);

  BpeTrainer trainer({.vocab_size = 640});
  trainer.add("one text of two paragraphs");
  const Tokenizer tokenizer = trainer.train();
  tokenizer.save(folder.path() / "tokenizer");
  const auto shard = tokenise_corpus(train_file(out), tokenizer, folder.path() / "cache");
  const Outcome tokens = run("inspect " + shard->path().string() + " --tokenizer " +
                             (folder.path() / "tokenizer").string());
  EXPECT_EQ(tokens.code, 0) << tokens.error;
  EXPECT_NE(tokens.out.find("of two paragraphs<|endofturn|>"), std::string::npos) << tokens.out;
  const std::string bytes = read_file(shard->path());
  write_file(folder.path() / "cut.shard", bytes.substr(0, bytes.size() - 8));
  expect_refusal(run("inspect " + (folder.path() / "cut.shard").string()), "truncated or damaged");
}

TEST(DataVerb, SaysWhatItHoldsOutAndListsItsFields) {
  const TemporaryFolder folder;
  const std::string here = folder.path().string();
  write_file(folder.path() / "a.txt", "one text");
  write_file(folder.path() / "b.jsonl",
             R"({"messages":[{"role":"user","content":"q","mood":"calm"},)"
             R"({"role":"assistant","content":"a"}]})"
             "\n");
  const std::string prepare = "prepare " + here + "/a.txt " + here + "/b.jsonl --out " + here;
  const Outcome few = run(prepare + "/few --heldout-fraction 0");
  EXPECT_NE(few.out.find("held out: no document or conversation"), std::string::npos) << few.out;
  EXPECT_NE(few.out.find("'mood' (1)"), std::string::npos) << few.out;
  const Outcome all = run(prepare + "/all --heldout-fraction 1");
  EXPECT_EQ(all.out.find("held out: no"), std::string::npos) << all.out;
  const Outcome fields = run("prepare --fields");
  EXPECT_EQ(fields.code, 0);
  EXPECT_NE(fields.out.find("\n  sources[].heldout_fraction = 0.02   "), std::string::npos)
      << fields.out;
  EXPECT_NE(fields.out.find("\n  tasks.document_count = 0   "), std::string::npos);
}

TEST(DataVerb, RefusesToReplaceItsInputAndTablesAsText) {
  const TemporaryFolder folder;
  const std::string here = folder.path().string();
  write_file(folder.path() / "a.txt", "one text");
  write_file(folder.path() / "a.csv", "text\none\n");
  write_file(folder.path() / "wide.txt", std::string("\xFF\xFEt\0", 4));
  ASSERT_EQ(run("prepare " + here + "/a.txt --heldout-fraction 0 --out " + here + "/c").code, 0);
  const std::string before = read_file(folder.path() / "c" / "manifest.json");
  expect_refusal(run("prepare " + here + "/c/train.jsonl --out " + here + "/c"),
                 "an input of this corpus");
  EXPECT_EQ(read_file(folder.path() / "c" / "manifest.json"), before);
  expect_refusal(run("prepare " + here + "/a.csv --out " + here + "/out"), "tables (.csv)");
  expect_refusal(run("prepare " + here + "/wide.txt --out " + here + "/out"), "UTF-16");
}

TEST(DataVerb, BadInputIsOneLineAndLeavesNothing) {
  const TemporaryFolder folder;
  const std::string here = folder.path().string(), out = " --out " + here + "/out";
  write_file(folder.path() / "good.txt", "good");
  write_file(folder.path() / "latin1.txt", "caf\xe9");
  write_file(folder.path() / "bad.yaml", "sources: [{path: x}]");
  write_file(folder.path() / "torn.yaml", "sources: [{");
  write_file(folder.path() / "negative.yaml", "tasks: {document_count: -1}");
  write_file(folder.path() / "cut.jsonl.zst", std::string("\x28\xb5\x2f\xfd\x04", 5));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"prepare " + here + "/none" + out, "no file or folder"},
      {"prepare " + here + "/latin1.txt" + out, "not UTF-8"},
      {"prepare " + here + "/bad.yaml" + out, "unknown field 'path'; did you mean 'paths'?"},
      {"prepare " + here + "/torn.yaml" + out, "not YAML"},
      {"prepare " + here + "/negative.yaml" + out, "document_count is -1"},
      {"prepare " + here + "/cut.jsonl.zst" + out, "truncated"},
      {"prepare " + here + "/good.txt --heldout-fraction 2" + out, "from 0 to 1"},
      {"prepare " + here + "/good.txt --set tasks.mixture.languages=[xx]" + out, "'xx'"},
      {"prepare " + here + "/good.txt --set tasks.mixture.addition.digits_min=9" + out,
       "digits_min is 9, above digits_max"},
      {"prepare " + here + "/good.txt", "--out is missing"},
      {"prepare " + here + "/good.txt --out " + here + "/good.txt", "names a folder"},
      {"prepare " + here + "/good.txt --out " + here, "holds something else"},
      {"prepare " + here + "/good.txt --out /proc/dure-test/out", "/proc/dure-test"},
      {"prepare" + out, "INPUT"},
      {"prepare " + here + "/good.txt --frobnicate" + out, "--frobnicate"},
      {"inspect " + here + "/none", "No such file"},
      {"inspect " + here, "not a prepared corpus"},
      {"inspect " + here + "/good.txt", "not JSON"},
  };
  for (const auto& [arguments, part] : cases) {
    SCOPED_TRACE(arguments);
    expect_refusal(run(arguments), part);
    EXPECT_EQ(leftovers(folder.path()), std::set<std::string>{});
  }
  EXPECT_EQ(read_file(folder.path() / "good.txt"), "good");
}

TEST(DataVerb, UnreadableFilesAreNamed) {
  if (::geteuid() == 0) {
    std::printf("skipped: root may read every file\n");
    return;
  }
  const TemporaryFolder folder;
  write_file(folder.path() / "a.txt", "secret");
  std::filesystem::permissions(folder.path() / "a.txt", std::filesystem::perms::none);
  expect_refusal(run("prepare " + (folder.path() / "a.txt").string() + " --out " +
                     (folder.path() / "out").string()),
                 "Permission denied");
}

TEST(DataVerb, AFullDiskLeavesNothing) {
  const TemporaryFolder folder;
  const Path disk = folder.path() / "disk";
  make_folders(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=256k") != 0) {
    std::printf("skipped: a tmpfs cannot be mounted here\n");
    return;
  }
  write_file(folder.path() / "good.txt", "good");
  const Outcome outcome = run("prepare " + (folder.path() / "good.txt").string() +
                              " --set tasks.document_count=5000 --out " + (disk / "out").string());
  expect_refusal(outcome, "No space left");
  EXPECT_EQ(leftovers(disk), std::set<std::string>{});
  ::umount(disk.c_str());
}

// Killed at any moment, the corpus of before stands whole; the next run succeeds.
// Inputs that changed are prepared again; a corpus of other inputs or options is not replaced
// unasked.
TEST(DataVerb, ReplacesOnlyACorpusOfTheSameInputs) {
  const TemporaryFolder folder;
  const std::string here = folder.path().string(),
                    out = " --heldout-fraction 0 --out " + here + "/c";
  write_file(folder.path() / "a.txt", "first");
  write_file(folder.path() / "b.txt", "second");
  ASSERT_EQ(run("prepare " + here + "/a.txt" + out).code, 0);
  const std::string before = read_file(folder.path() / "c" / "train.jsonl");
  expect_refusal(run("prepare " + here + "/b.txt" + out), "sources differ");
  expect_refusal(run("prepare " + here + "/a.txt --set seed=5" + out), "seed differ");
  EXPECT_EQ(read_file(folder.path() / "c" / "train.jsonl"), before);
  write_file(folder.path() / "a.txt", "first, longer");
  EXPECT_EQ(run("prepare " + here + "/a.txt" + out).code, 0);
  EXPECT_NE(read_file(folder.path() / "c" / "train.jsonl"), before);
  EXPECT_EQ(run("prepare " + here + "/b.txt --force" + out).code, 0);
}

TEST(DataVerb, KilledItLeavesTheOldCorpus) {
  const TemporaryFolder folder;
  const Path out = folder.path() / "out";
  write_file(folder.path() / "a.txt", "first");
  const std::string prepare =
      "prepare " + (folder.path() / "a.txt").string() +
      " --heldout-fraction 0 --force --set tasks.document_count=60000 --out " + out.string();
  ASSERT_EQ(run("prepare " + (folder.path() / "a.txt").string() + " --heldout-fraction 0 --out " +
                out.string())
                .code,
            0);
  const std::string before = read_file(out / "manifest.json");
  for (const int wait_ms : {5, 40, 120}) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::freopen("/dev/null", "w", stdout);
      std::freopen("/dev/null", "w", stderr);
      ::execl("/bin/sh", "sh", "-c", ("exec " DURE_BINARY " data " + prepare).c_str(), nullptr);
      ::_exit(127);
    }
    ::usleep(static_cast<useconds_t>(wait_ms) * 1000);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFSIGNALED(status)) break;  // It was faster than the kill.
    EXPECT_EQ(read_file(out / "manifest.json"), before);
    EXPECT_EQ(corpus_manifest(out).at("files").at("train.jsonl").at("documents").as_int(), 1);
  }
  ASSERT_EQ(run(prepare).code, 0);
  EXPECT_GT(corpus_manifest(out).at("files").at("train.jsonl").at("documents").as_int(), 30000);
}

}  // namespace
}  // namespace dure
