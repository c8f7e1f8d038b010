// What base/ promises: JSON and YAML round trips, options refused by name, atomic files,
// counter-based numbers, loops.
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <numeric>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/options.h"
#include "base/output_folder.h"
#include "base/rng.h"
#include "base/testing.h"
#include "base/thread_pool.h"
#include "base/utf8.h"

namespace dure {
namespace {

TEST(Json, KeepsOrderKindsAndText) {
  const std::string text = R"({"b":1,"a":[1.5,"x\n\u00e9",true,null],"big":1e+300,"neg":-7})";
  const Json json = parse_json(text, "test");
  EXPECT_EQ(json.dump(),
            "{\"b\":1,\"a\":[1.5,\"x\\n\xC3\xA9\",true,null],\"big\":1e+300,\"neg\":-7}");
  EXPECT_EQ(parse_json(json.dump(2), "again"), json);
}

TEST(Json, NamesThePlaceOfAnError) {
  EXPECT_NE(message_of([] { parse_json("{\"a\": }", "conf.json"); }).find("conf.json"),
            std::string::npos);
  EXPECT_NE(message_of([] { parse_json(std::string(1000, '['), "deep"); }).find("deeper"),
            std::string::npos);
  EXPECT_NE(message_of([] { Json(3).as_string("name"); }).find("name should be a string"),
            std::string::npos);
}

TEST(Yaml, ReadsIntoTheSameValue) {
  const Json json = parse_yaml("a: 1\nb: {c: 1e-3, d: '7', e: [true, x]}\n", "y");
  EXPECT_EQ(json.dump(), R"({"a":1,"b":{"c":0.001,"d":"7","e":[true,"x"]}})");
  EXPECT_NE(message_of([] { parse_yaml("a: 1\na: 2\n", "twice.yaml"); }).find("line 2"),
            std::string::npos);
  EXPECT_NE(message_of([] { parse_yaml("a: \xff", "bytes.yaml"); }).find("not UTF-8 at byte 3"),
            std::string::npos);
  EXPECT_EQ(parse_yaml(R"(a: "\u00a0\x41")", "y").dump(), "{\"a\":\"\u00a0A\"}");
  for (const char* text : {R"(a: "1\_000")", R"(a: "\N")", R"("\_": 1)"}) {
    EXPECT_NE(message_of([&] { parse_yaml(text, "escapes.yaml"); }).find("line 1: quoted text"),
              std::string::npos);
  }
  EXPECT_NE(message_of([] { parse_yaml("[a]: 1", "keys.yaml"); }).find("plain text"),
            std::string::npos);
}

// Each line has seven of the one before: 40 million values in 600 bytes.
TEST(Yaml, AliasesOfAliasesDoNotFillTheMemory) {
  EXPECT_EQ(parse_yaml("a: &a [1, 2]\nb: [*a, *a]\n", "y").dump(),
            R"({"a":[1,2],"b":[[1,2],[1,2]]})");
  std::string bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += fmt::format("a{}: &a{} [", i, i);
    for (int k = 0; k < 7; ++k) bomb += fmt::format("*a{}{}", i - 1, k < 6 ? ", " : "]\n");
  }
  EXPECT_NE(message_of([&] { parse_yaml(bomb, "bomb.yaml"); }).find("aliases"), std::string::npos);
}

// Large objects are indexed while they are read; the last of equal keys stands in the first one's
// place.
TEST(Json, LargeObjectsAreReadInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += fmt::format("\"key {}\": {}, ", i, i);
  const Json json = parse_json(text + "\"key 3\": -1}", "large");
  ASSERT_EQ(json.size(), 200000u);
  EXPECT_EQ(json.as_object()[3].second, Json(-1));
  EXPECT_EQ(json.as_object()[199999].first, "key 199999");
}

struct Inner {
  double rate = 0.5;
  template <typename V>
  void visit(V& v) {
    v("rate", rate, "a rate", above(0));
  }
};
enum class Kind { kX, kY };
constexpr auto enum_names(Kind) {
  return std::to_array<EnumName<Kind>>({{Kind::kX, "x"}, {Kind::kY, "y"}});
}
struct Outer {
  int64_t steps = 3;
  Kind kind = Kind::kX;
  Inner inner;
  template <typename V>
  void visit(V& v) {
    v("steps", steps, "how many", at_least(1));
    v("kind", kind, "which");
    v("inner", inner, "nested");
  }
};

TEST(Utf8, LengthsAndStarts) {
  EXPECT_EQ(utf8_length("a", 0), 1);
  EXPECT_EQ(utf8_length("\xEA\xB0\x80", 0), 3);
  EXPECT_EQ(utf8_length("\xF0\x9F\x98\x80", 0), 4);
  EXPECT_EQ(utf8_length("\xF0\x9F\x98", 0), -3);  // one part of an unfinished character
  for (const char* bad :
       {"\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF"})
    EXPECT_EQ(utf8_length(bad, 0), -1) << static_cast<int>(bad[0]);
  const std::string text = "a\xEA\xB0\x80z";
  EXPECT_EQ(utf8_start(text, 0), 0u);
  EXPECT_EQ(utf8_start(text, 3), 1u);
  EXPECT_EQ(utf8_start(text, 4), 4u);
  EXPECT_EQ(utf8_start(text, text.size()), text.size());
  std::string out;
  for (const char32_t code : {U'a', U'\u00E9', U'\uAC00', U'\U0001F600'}) append_utf8(out, code);
  EXPECT_EQ(out, "a\xC3\xA9\xEA\xB0\x80\xF0\x9F\x98\x80");
}

TEST(Options, ReadsWritesAndRefusesByName) {
  Outer outer;
  from_json(outer, parse_yaml("steps: 5\ninner: {rate: 2}", "o"), "o.yaml");
  EXPECT_EQ(to_json(outer).dump(), R"({"steps":5,"kind":"x","inner":{"rate":2.0}})");
  EXPECT_NE(message_of([&] {
              from_json(outer, parse_yaml("stepz: 5", "o"), "o.yaml");
            }).find("did you mean 'steps'"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              from_json(outer, parse_yaml("inner: {rate: 0}", "o"), "o.yaml");
            }).find("above 0"),
            std::string::npos);
  EXPECT_NE(
      message_of([&] { from_json(outer, parse_yaml("kind: z", "o"), "o.yaml"); }).find("x, y"),
      std::string::npos);
  EXPECT_NE(describe<Outer>().find("inner.rate = 0.5   a rate (number, above 0)\n"),
            std::string::npos);
  EXPECT_NE(describe<Outer>().find("steps = 3   how many (integer, at least 1)\n"),
            std::string::npos);
  EXPECT_NE(describe<Outer>().find("kind = \"x\"   which (x | y)"), std::string::npos);
  from_json(outer, parse_yaml("kind: y", "o"), "o.yaml");
  EXPECT_EQ(outer.kind, Kind::kY);
  Json root = Json::object();
  set_path(root, "inner.rate=0.25");
  Outer fresh;
  from_json(fresh, root, "set");
  EXPECT_EQ(fresh.inner.rate, 0.25);
}

enum class Switch { kOn, kOff };
constexpr auto enum_names(Switch) {
  return std::to_array<EnumName<Switch>>({{Switch::kOn, "on"}, {Switch::kOff, "off"}});
}
struct Switches {
  Switch one = Switch::kOn;
  std::vector<Switch> all;
  Kind kind = Kind::kX;
  template <typename V>
  void visit(V& v) {
    v("one", one, "a switch");
    v("all", all, "several");
    v("kind", kind, "no switch");
  }
};

// YAML reads on and off as truth values.
TEST(Options, ChoicesMayBeCalledOnAndOff) {
  for (const char* text : {"one: off\nall: [on, off]", "one: \"off\"\nall: [\"on\", 'off']"}) {
    Switches read;
    from_json(read, parse_yaml(text, "o"), "o.yaml");
    EXPECT_EQ(read.one, Switch::kOff);
    EXPECT_EQ(read.all, (std::vector<Switch>{Switch::kOn, Switch::kOff}));
    EXPECT_EQ(to_json(read).dump(), R"({"one":"off","all":["on","off"],"kind":"x"})");
  }
  Switches read;
  Json root = Json::object();
  set_path(root, "one=off");
  from_json(read, root, "set");
  EXPECT_EQ(read.one, Switch::kOff);
  EXPECT_NE(
      message_of([&] { from_json(read, parse_yaml("kind: on", "o"), "o.yaml"); }).find("x, y"),
      std::string::npos);
}

TEST(Options, SetPathMakesFieldsOnlyInObjects) {
  Json root = Json::object();
  set_path(root, "a.b=3");
  EXPECT_EQ(root.dump(), R"({"a":{"b":3}})");
  EXPECT_NE(message_of([&] { set_path(root, "a.b.c=3"); }).find("'a.b.c=3'"), std::string::npos);
  std::string deep = "x";
  for (int i = 0; i < 50000; ++i) deep += ".x";
  EXPECT_NE(message_of([&] { set_path(root, deep + "=1"); }).find("no field"), std::string::npos);
}

TEST(Files, AnOutputFolderGoesIfNothingCameOfIt) {
  const TemporaryFolder folder;
  const Path path = folder.path() / "a/b/c/";
  { const OutputFolder output(path); }
  EXPECT_FALSE(path_exists(folder.path() / "a"));
  {
    const OutputFolder output(path);
    EXPECT_TRUE(output.is_new());
    write_file(path / "file", "x");
  }
  EXPECT_TRUE(path_exists(path / "file"));
  { const OutputFolder again(path); }
  EXPECT_TRUE(path_exists(path / "file"));
}

TEST(Files, AreWholeOrAbsent) {
  const TemporaryFolder folder;
  {
    StagedFile file(folder.path() / "a");
    file.write("half");
  }
  EXPECT_FALSE(path_exists(folder.path() / "a"));
  write_file(folder.path() / "a", "whole");
  EXPECT_EQ(read_file(folder.path() / "a"), "whole");
  for (const char* text : {"one", "two"}) {
    StagedFolder staged(folder.path() / "d");
    write_file(staged.path() / "f", text);
    staged.commit();
    EXPECT_EQ(read_file(folder.path() / "d" / "f"), text);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
  EXPECT_NE(message_of([&] { read_file(folder.path() / "none"); }).find("No such file"),
            std::string::npos);
}

TEST(Rng, PhiloxKnownAnswers) {  // From the Random123 distribution's known-answer file (philox4x32,
                                 // 10 rounds).
  EXPECT_EQ(philox(0, 0, 0),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ull, ~0ull, ~0ull),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Rng, ResumesFromItsCounter) {
  Rng a(7, stream_id("test"));
  for (int i = 0; i < 13; ++i) a.next_u32();
  Rng b(7, a.stream(), a.counter());
  EXPECT_EQ(a.normal(), b.normal());
  double sum = 0;
  for (int i = 0; i < 10000; ++i) sum += a.normal();
  EXPECT_NEAR(sum / 10000, 0, 5 / 100.0);
}

TEST(ThreadPool, RunsEveryIndexOnceAndRethrows) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<int> hits(37);
      pool.parallel_for(37, [&](int64_t i, int) { ++hits[static_cast<size_t>(i)]; });
      EXPECT_EQ(std::accumulate(hits.begin(), hits.end(), 0), 37);
    }
    EXPECT_THROW(pool.parallel_for(9,
                                   [](int64_t i, int) {
                                     if (i == 4) fail(ErrorCode::kIo, "x");
                                   }),
                 Error);
    pool.parallel_for(3, [&](int64_t, int) { pool.parallel_for(2, [](int64_t, int) {}); });
  }
}

int cpus_of_this_thread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  return CPU_COUNT(&set);
}

// Workers are bound where that is asked for and there is a CPU for each; the caller never.
TEST(ThreadPool, PinsWorkersWhereAsked) {
  const int allowed = cpus_of_this_thread();
  for (const char* value : {"off", "on"}) {
    ::setenv("DURE_PIN", value, 1);
    for (const int threads : {2, allowed + 1}) {
      ThreadPool pool(threads);
      const bool bound = std::string_view(value) == "on" && threads <= allowed;
      std::vector<int> seen(static_cast<size_t>(threads), -1);
      for (int round = 0; round < 50; ++round) {
        pool.parallel_for(2 * threads, [&](int64_t, int worker) {
          seen[static_cast<size_t>(worker)] = cpus_of_this_thread();
          std::this_thread::yield();
        });
      }
      EXPECT_EQ(seen[0], allowed);
      for (size_t i = 1; i < seen.size(); ++i)
        EXPECT_TRUE(seen[i] == -1 || seen[i] == (bound ? 1 : allowed)) << value << " " << threads;
    }
  }
  ::setenv("DURE_PIN", "2", 1);
  EXPECT_THROW(ThreadPool(2), Error);
  ::unsetenv("DURE_PIN");
}

// Idle workers sleep: the process's own time stands still.
TEST(ThreadPool, TakesNoTimeWhenIdle) {
  ThreadPool pool(4);
  pool.parallel_for(8, [](int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.02);
}

TEST(Interrupt, EndsAtOnceWhereNothingLooks) {
  const auto signalled = [](int signal, bool looked_at) {
    install_interrupt_handler();
    std::optional<InterruptScope> scope;
    if (looked_at) scope.emplace();
    ::raise(signal);
    _exit(interrupted() ? interrupt_exit_code() + 50 : 0);
  };
  EXPECT_EXIT(signalled(SIGINT, false), testing::ExitedWithCode(130), "");
  EXPECT_EXIT(signalled(SIGTERM, false), testing::ExitedWithCode(143), "");
  EXPECT_EXIT(signalled(SIGINT, true), testing::ExitedWithCode(180), "");
  EXPECT_EXIT(signalled(SIGTERM, true), testing::ExitedWithCode(193), "");
}

}  // namespace
}  // namespace dure
