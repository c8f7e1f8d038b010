// Collectives over threads and alone, their sums' order, faults on purpose, launchers and MPI's
// binary interface.
#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/rng.h"
#include "comm/faulty_transport.h"
#include "comm/group.h"
#include "comm/launcher.h"
#include "comm/mesh.h"
#include "comm/mpi_library.h"
#include "comm/ranks.h"
#include "comm/thread_transport.h"
#define OMPI_SKIP_MPICXX 1
#if __has_include(<openmpi/include/mpi.h>)
#include <openmpi/include/mpi.h>
#define DURE_HAVE_MPI_H 1
#elif __has_include(<x86_64-linux-gnu/mpi/mpi.h>)
#include <x86_64-linux-gnu/mpi/mpi.h>
#define DURE_HAVE_MPI_H 1
#endif

namespace dure {
namespace {

std::vector<float> values_of(int rank, size_t count) {
  std::vector<float> out(count);
  Rng rng(7, static_cast<uint64_t>(rank));
  for (float& v : out) v = static_cast<float>(rng.uniform() - 0.5) * 1e3f;
  return out;
}

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

double seconds_of(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Comm, TreeAddsPairsLevelByLevel) {
  std::vector<float> a{1}, b{1e8f}, c{-1e8f}, d{3}, e{0.5f};
  const std::vector<std::span<float>> all{a, b, c, d, e};
  const float expected = ((1 + 1e8f) + (-1e8f + 3)) + 0.5f;
  tree_sum(all);
  EXPECT_EQ(a[0], expected);
}

TEST(Comm, AloneEveryCollectiveIsTheIdentity) {
  Group& group = Group::alone();
  std::vector<double> sum{1, 2};
  group.all_reduce(std::span(sum), "sum");
  EXPECT_EQ(sum, (std::vector<double>{1, 2}));
  const std::vector<int64_t> counts{2};
  std::vector<float> own{3, 4}, all(2);
  group.all_gather(std::span<const float>(own), counts, std::span(all), "gather");
  EXPECT_EQ(all, own);
  EXPECT_TRUE(group.any(true, "any"));
  EXPECT_EQ(group.all_gather_text("x", "text"), std::vector<std::string>{"x"});
  EXPECT_EQ(group.traffic().sent_bytes, 0);
}

// More than a round of elements, uneven shares, an empty one.
TEST(Comm, ReduceScatterIsTheTreeSumOfWhatRanksHold) {
  for (const int size : {2, 3, 4, 5}) {
    std::vector<int64_t> counts(static_cast<size_t>(size), 300000);
    counts[1] = 0;
    counts[0] = 7;
    int64_t total = 0;
    for (const int64_t c : counts) total += c;
    std::vector<std::vector<float>> held;
    for (int r = 0; r < size; ++r) held.push_back(values_of(r, static_cast<size_t>(total)));
    auto copies = held;
    std::vector<std::span<float>> spans(copies.begin(), copies.end());
    tree_sum(spans);
    std::vector<float> sums(static_cast<size_t>(total));
    run_ranks(size, [&](Group& group) {
      int64_t first = 0;
      for (int r = 0; r < group.rank(); ++r) first += counts[static_cast<size_t>(r)];
      auto& mine = held[static_cast<size_t>(group.rank())];
      const auto own =
          std::span(mine).subspan(static_cast<size_t>(first),
                                  static_cast<size_t>(counts[static_cast<size_t>(group.rank())]));
      group.reduce_scatter(std::span<const float>(mine), counts, own, "test");
      std::copy(own.begin(), own.end(), sums.begin() + first);
      // Each rank sends what is not its own, once.
      EXPECT_EQ(group.traffic().sent_bytes, 4 * (total - std::ssize(own)));
      EXPECT_EQ(group.traffic().received_bytes, 4 * std::ssize(own) * (size - 1));
    });
    EXPECT_EQ(sums, copies[0]) << size;
  }
}

TEST(Comm, EveryRankGetsWhatTheOthersHave) {
  run_ranks(3, [](Group& group) {
    const std::vector<int64_t> counts{1, 2, 3};
    std::vector<int64_t> own(static_cast<size_t>(group.rank() + 1), group.rank()), all(6);
    group.all_gather(std::span<const int64_t>(own), counts, std::span(all), "gather");
    EXPECT_EQ(all, (std::vector<int64_t>{0, 1, 1, 2, 2, 2}));
    // Rank r sends r + 1 values to everyone.
    const std::vector<int64_t> same(3, group.rank() + 1);
    std::vector<int64_t> send;
    for (int64_t to = 0; to < 3; ++to) send.insert(send.end(), own.size(), 10 * group.rank() + to);
    group.all_to_all(std::span<const int64_t>(send), same, std::span(all), counts, "all to all");
    const int64_t me = group.rank();
    EXPECT_EQ(all, (std::vector<int64_t>{me, 10 + me, 10 + me, 20 + me, 20 + me, 20 + me}));
    int64_t sum = group.rank();
    group.all_reduce(std::span(&sum, 1), "sum");
    EXPECT_EQ(sum, 3);
    EXPECT_EQ(group.first_says(group.rank() + 5, "first"), 5);
    EXPECT_FALSE(group.any(false, "any"));
    EXPECT_TRUE(group.any(group.rank() == 2, "any"));
    EXPECT_EQ(group.all_gather_text(std::string(own.size(), 'a'), "text"),
              (std::vector<std::string>{"a", "aa", "aaa"}));
    if (group.rank() == 0) group.send(2, std::as_bytes(std::span("hello")), "send");
    if (group.rank() == 2) {
      char text[6];
      group.receive(0, std::as_writable_bytes(std::span(text)), "receive");
      EXPECT_STREQ(text, "hello");
    }
  });
}

TEST(Comm, AllAgreeOrAllThrowTheFirstFailure) {
  std::atomic<int> threw = 0;
  run_ranks(3, [&](Group& group) {
    group.together("fine", [] {});
    const std::string text = error_of([&] {
      group.together("saving", [&] {
        if (group.rank() > 0) fail(ErrorCode::kNoSpace, "disk {} is full", group.rank());
      });
    });
    EXPECT_EQ(text, "rank 1 (thread 1): disk 1 is full");
    ++threw;
  });
  EXPECT_EQ(threw, 3);
}

TEST(Comm, WhatDiffersBetweenRanksIsRefusedByName) {
  run_ranks(3, [](Group& group) {
    require_alike(group, "the build", "1.0", "");
    const std::string text = error_of([&] {
      require_alike(group, "the instruction set", group.rank() == 2 ? "avx2" : "avx512",
                    "set DURE_ISA=avx2");
    });
    EXPECT_EQ(text,
              "the instruction set differs between ranks: rank 0 (thread 0) has avx512, rank 2 "
              "(thread 2) has avx2; set DURE_ISA=avx2");
  });
}

// Ranks that go round and round until a fault; the errors by rank.
std::vector<std::string> errors_with(const Fault& fault, int faulty, double limit_s) {
  ThreadWorld world(3);
  std::vector<std::string> errors(3);
  std::vector<std::thread> threads;
  for (int r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      FaultyTransport transport(world.transport(r), r == faulty ? fault : Fault{});
      Group group(transport, {0, 1, 2}, 0, limit_s);
      try {
        for (int i = 0; i < 20; ++i) {
          group.set_place(fmt::format("step {}", i));
          int64_t one = 1;
          group.all_reduce(std::span(&one, 1), "sum");
          EXPECT_EQ(one, 3);
        }
      } catch (const RankFailure& failure) {
        errors[static_cast<size_t>(r)] = failure.what();
      } catch (const Error& error) {
        errors[static_cast<size_t>(r)] = error.what();
        transport.announce({r, error.code(), error.what()});
      } catch (const int) {  // killed
        world.set_dead(r);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

TEST(Comm, ARankThatFailsEndsTheOthersWithItsWords) {
  const auto errors = errors_with({.kind = Fault::Kind::kFail, .at = 5, .text = "bad data"}, 1, 60);
  EXPECT_EQ(errors, (std::vector<std::string>{"rank 1 (thread 1): bad data", "bad data",
                                              "rank 1 (thread 1): bad data"}));
}

TEST(Comm, ARankThatDiesIsNamed) {
  const auto errors =
      errors_with({.kind = Fault::Kind::kKill, .at = 5, .kill = [] { throw 1; }}, 2, 60);
  EXPECT_EQ(errors[0], "rank 2 (thread 2) died (step 5, sum)");
  EXPECT_EQ(errors[1], errors[0]);
}

TEST(Comm, ARankThatHangsIsNamedWithinTheLimit) {
  const double took = seconds_of([] {
    const auto errors = errors_with({.kind = Fault::Kind::kDelay, .at = 5, .delay_s = 0.6}, 1, 0.2);
    EXPECT_NE(errors[0].find("rank 1 (thread 1) has not answered rank 0 (thread 0) for 0.2 s "
                             "(step 5, sum)"),
              std::string::npos)
        << errors[0];
  });
  EXPECT_LT(took, 5);
}

TEST(Comm, DroppedMessagesEndInTheSameWords) {
  const auto errors = errors_with({.kind = Fault::Kind::kDrop, .at = 3}, 0, 0.2);
  EXPECT_NE(errors[1].find("rank 0 (thread 0) has not answered"), std::string::npos) << errors[1];
}

TEST(Comm, DelaysChangeNothing) {
  const auto errors = errors_with({.kind = Fault::Kind::kDelay, .at = 0, .delay_s = 0.003}, 1, 60);
  EXPECT_EQ(errors, std::vector<std::string>(3));
}

class Environment {
 public:
  explicit Environment(std::map<std::string, std::string> set) {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE",
                             "PMIX_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"})
      ::unsetenv(name);
    for (const auto& [name, value] : set) ::setenv(name.c_str(), value.c_str(), 1);
    names_ = std::move(set);
  }
  ~Environment() {
    for (const auto& [name, value] : names_) ::unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::string> names_;
};

TEST(Comm, LaunchersAreKnownByTheirVariables) {
  const auto found = [](std::map<std::string, std::string> set) {
    const Environment environment(std::move(set));
    const auto launcher = find_launcher();
    if (!launcher) return std::string("none");
    return fmt::format("{} {}/{}", launcher->name, launcher->rank, launcher->size.value_or(-1));
  };
  EXPECT_EQ(found({}), "none");
  EXPECT_EQ(found({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}}), "mpirun 1/4");
  EXPECT_EQ(found({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}), "none");
  EXPECT_EQ(found({{"PMI_RANK", "3"}, {"PMI_SIZE", "8"}}), "a PMI launcher 3/8");
  EXPECT_EQ(found({{"SLURM_PROCID", "2"}, {"SLURM_STEP_NUM_TASKS", "4"}}), "srun 2/4");
  EXPECT_EQ(found({{"SLURM_PROCID", "0"}}), "none");  // a batch script
  EXPECT_EQ(found({{"PMIX_RANK", "1"}}), "a PMIx launcher 1/-1");
  EXPECT_EQ(found({{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "4"}}), "none");
}

TEST(Mesh, EveryRankIsInOneGroupOfEachAxis) {
  const MeshShape shape{.data = 2, .expert = 3, .pipeline = 2};
  run_ranks(12, [&](Group& world) {
    Mesh mesh(world, shape);
    const MeshPlace at = mesh.place();
    EXPECT_EQ(rank_at(shape, at), world.rank());
    EXPECT_EQ(world.rank(), (at.pipeline * 2 + at.data) * 3 + at.expert);
    const auto sum_of = [&](Group& group) {
      int64_t sum = world.rank();
      group.all_reduce(std::span(&sum, 1), "ranks");
      return sum;
    };
    const int64_t stage = 6 * at.pipeline;
    EXPECT_EQ(mesh.batch().rank(), world.rank() - stage);
    EXPECT_EQ(sum_of(mesh.batch()), 6 * stage + 15);
    EXPECT_EQ(sum_of(mesh.expert()), 3 * (stage + 3 * at.data) + 3);
    EXPECT_EQ(sum_of(mesh.data()), 2 * (stage + at.expert) + 3);
    EXPECT_EQ(sum_of(mesh.pipeline()), 2 * (world.rank() % 6) + 6);
    EXPECT_EQ(mesh.traffic().sent_bytes, 8 * (5 + 2 + 1 + 1));
  });
  Mesh& alone = Mesh::alone();
  EXPECT_EQ(&alone.batch(), &alone.world());
  EXPECT_EQ(&alone.expert(), &alone.world());
}

// Two exchanges at once, each with its own; what goes to oneself is there before the wait.
TEST(Comm, MessagesTravelWhileARankDoesSomethingElse) {
  run_ranks(2, [](Group& group) {
    const int other = 1 - group.rank();
    std::vector<int64_t> first(2), second(2);
    const int64_t mine = group.rank() + 1, later = 10 * mine;
    const auto bytes = [](const int64_t& v) { return std::as_bytes(std::span(&v, 1)); };
    const auto room = [](int64_t& v) { return std::as_writable_bytes(std::span(&v, 1)); };
    const std::vector<Outgoing> out{{other, bytes(mine)}, {group.rank(), bytes(mine)}};
    const std::vector<Incoming> in{{other, room(first[0])}, {group.rank(), room(first[1])}};
    auto started = group.start(out, in, "first");
    EXPECT_EQ(first[1], mine);
    const std::vector<Outgoing> more_out{{other, bytes(later)}};
    const std::vector<Incoming> more_in{{other, room(second[0])}};
    auto more = group.start(more_out, more_in, "second");
    started.advance();
    started.wait();
    more.wait();
    EXPECT_EQ(first[0], other + 1);
    EXPECT_EQ(second[0], 10 * (other + 1));
  });
}

TEST(Comm, TheTableIsCheckedAgainstTheLauncher) {
  const Environment none({});
  const auto said = [](const RankOptions& options) {
    return error_of([&] { run_in_ranks(options, "c.yaml", {}, [](Group&) {}); });
  };
  EXPECT_EQ(said({}), "");
  EXPECT_EQ(said({.data = 2}),
            "c.yaml: ranks: data 2 x expert 1 x pipeline 1 = 2, but this is one process without a "
            "launcher: mpirun -n 2 dure ..., or set ranks.data=1");
  EXPECT_NE(said({.expert = 2}).find("data 1 x expert 2 x pipeline 1 = 2, but this is one"),
            std::string::npos);
}

// The declarations of mpi_library.h against those of the installed library.
TEST(Comm, OpenMpiHasTheInterfaceThatIsDeclared) {
  const MpiFound& found = find_mpi();
  if (found.library == nullptr) GTEST_SKIP() << found.text;
  EXPECT_TRUE(found.text.starts_with("Open MPI v")) << found.text;
  EXPECT_NE(found.library->world, nullptr);
#ifdef DURE_HAVE_MPI_H
  static_assert(sizeof(MPI_Status) == sizeof(MpiStatus));
  static_assert(offsetof(MPI_Status, MPI_SOURCE) == offsetof(MpiStatus, source));
  static_assert(offsetof(MPI_Status, MPI_TAG) == offsetof(MpiStatus, tag));
  static_assert(offsetof(MPI_Status, MPI_ERROR) == offsetof(MpiStatus, error));
  static_assert(std::is_pointer_v<MPI_Comm> && std::is_pointer_v<MPI_Datatype> &&
                std::is_pointer_v<MPI_Request>);
  static_assert(MPI_ANY_SOURCE == MpiLibrary::kAnySource);
  static_assert(MPI_THREAD_FUNNELED == MpiLibrary::kThreadFunneled);
#endif
}

}  // namespace
}  // namespace dure
