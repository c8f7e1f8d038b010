// The table against the launcher, then the work, and one line from one rank where it fails.
#include "comm/ranks.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "base/interrupt.h"
#include "base/shared_log.h"
#include "comm/mpi_transport.h"

namespace dure {
namespace {

// How long a rank waits to hear that a lower one failed too, and prints: longer where all ranks will
// find the same; and how long it then leaves that one for printing, before the launcher's end of it
// would cut the line off.
constexpr double kHearing_s = 0.5, kHearingOfAll_s = 2;
constexpr auto kPrinting = std::chrono::seconds(3);

std::string table(const RankOptions& o) {
  return fmt::format("data {} x expert {} x pipeline {} = {}", o.data, o.expert, o.pipeline,
                     o.count());
}

void check_count(const RankOptions& options, int64_t started, const std::string& source,
                 const std::string& launcher) {
  if (options.count() == started) return;
  if (launcher.empty())
    fail(ErrorCode::kInvalidArgument,
         "{}: ranks: {}, but this is one process without a launcher: mpirun -n {} dure ..., or set "
         "ranks.data=1",
         source, table(options), options.count());
  fail(ErrorCode::kInvalidArgument,
       "{}: ranks: {}, but {} started {}: set ranks.data={}, or start {}", source, table(options),
       launcher, started, started, options.count());
}

[[noreturn]] void leave(int code) {
  std::fflush(stdout);
  std::fflush(stderr);
  std::_Exit(code);
}

// Another rank has the word.
[[noreturn]] void leave_quietly(ErrorCode code) {
  std::this_thread::sleep_for(kPrinting);
  leave(code == ErrorCode::kInterrupted ? interrupt_exit_code() : 2);
}

// One rank throws what the program prints; the others do not return.
[[noreturn]] void end_failed(Transport& transport, const Error& error, bool names_rank) {
  const int rank = transport.rank();
  transport.announce({rank, error.code(), error.what()});
  // What every rank finds alike is of no rank.
  const bool everyones =
      error.code() == ErrorCode::kInvalidArgument || error.code() == ErrorCode::kInterrupted;
  if (rank > 0 && transport.lower_rank_failed(everyones ? kHearingOfAll_s : kHearing_s))
    leave_quietly(error.code());
  if (names_rank || (rank == 0 && everyones)) throw Error(error.code(), error.what());
  throw Error(error.code(), fmt::format("{}: {}", rank_name(transport, rank), error.what()));
}

using Work = std::function<void(Group&)>;

void work_in_world(Transport& transport, double limit_s, const std::vector<RankFact>& alike,
                   const Work& work) {
  std::vector<int> members(static_cast<size_t>(transport.size()));
  std::iota(members.begin(), members.end(), 0);
  Group world(transport, std::move(members), 1, limit_s);
  for (const RankFact& fact : alike) require_alike(world, fact.name, fact.value, fact.hint);
  work(world);
  world.set_place("");
  world.barrier();
}

// Whether it is settled who speaks: what is thrown then is this rank's to print.
bool g_settled = false;

std::unique_ptr<Transport> connect(const Launcher& launcher) {
  g_settled = true;
  try {
    return connect_mpi(launcher);
  } catch (const Error& error) {
    if (launcher.rank != 0) leave_quietly(error.code());
    throw;
  }
}

// work() of connected ranks, and how it ends where one fails.
void run_connected(Transport& transport, const std::function<void()>& work) {
  try {
    work();
  } catch (const RankFailure& failure) {
    if (failure.heard()) leave_quietly(failure.code());
    end_failed(transport, failure, /*names_rank=*/true);
  } catch (const Error& error) {
    end_failed(transport, error, /*names_rank=*/false);
  } catch (const std::bad_alloc&) {
    end_failed(transport, Error(ErrorCode::kOutOfMemory, "out of memory"), false);
  } catch (const std::exception& error) {
    end_failed(transport, Error(ErrorCode::kIo, error.what()), false);
  }
  finish_mpi(transport);
}

}  // namespace

void run_in_ranks(const RankOptions& options, const std::string& source,
                  const std::vector<RankFact>& alike, const Work& work) {
  const std::optional<Launcher> launcher = find_launcher();
  if (!launcher) {
    check_count(options, 1, source, "");
    return work(Group::alone());
  }
  const std::unique_ptr<Transport> transport = connect(*launcher);
  run_connected(*transport, [&] {
    check_count(options, transport->size(), source, launcher->name);
    work_in_world(*transport, options.limit_s, alike, work);
  });
}

void run_in_all_ranks(double limit_s, const std::vector<RankFact>& alike, const Work& work) {
  const std::optional<Launcher> launcher = find_launcher();
  if (!launcher) return work(Group::alone());
  const std::unique_ptr<Transport> transport = connect(*launcher);
  run_connected(*transport, [&] { work_in_world(*transport, limit_s, alike, work); });
}

int as_ranks(const std::function<int()>& work) {
  const std::optional<Launcher> launcher = find_launcher();
  if (!launcher) return work();
  if (launcher->rank != 0) leave_log_to_another();
  std::optional<Error> early;
  try {
    return work();
  } catch (const Error& error) {
    if (g_settled) throw;
    early.emplace(error);
  }
  std::unique_ptr<Transport> transport;
  try {
    transport = connect(*launcher);
  } catch (const Error&) {  // without a library: the first one's, which connect() lets return
    throw Error(*early);
  }
  end_failed(*transport, *early, /*names_rank=*/false);
}

void leave_to_first_rank() {
  const std::optional<Launcher> launcher = find_launcher();
  if (launcher && launcher->rank != 0) leave_quietly(ErrorCode::kInvalidArgument);
  g_settled = true;
}

void require_one_process(const std::string& what) {
  const std::optional<Launcher> launcher = find_launcher();
  if (!launcher) return;
  leave_to_first_rank();
  fail(ErrorCode::kInvalidArgument,
       "{} is one process's, but {} started several: start it without the launcher", what,
       launcher->name);
}

}  // namespace dure
