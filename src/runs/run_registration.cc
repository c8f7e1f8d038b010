// The registry is opened twice and never held: a run of weeks keeps no lock and no descriptor.
#include "runs/run_registration.h"

#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "runs/process_identity.h"
#include "runs/run_folder.h"

namespace dure {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void store(const RunRecord& record) {
  try {
    if (const std::unique_ptr<Registry> registry = open_registry()) registry->put(record);
  } catch (const std::exception& error) {
    log_warn("{}; the run is not listed (DURE_REGISTRY names another file, or off)", error.what());
  }
}

RunRecord begun(const RunStart& start) {
  RunRecord out{.id = run_id(start.folder), .kind = start.kind};
  out.path = std::filesystem::weakly_canonical(std::filesystem::absolute(start.folder)).string();
  out.config = start.config;
  out.steps = start.steps;
  out.started_s = now_s();
  const ProcessIdentity process = ProcessIdentity::ours();
  out.host = process.host;
  out.process = process.number;
  out.process_start = process.start;
  return out;
}

void end(RunRecord& record, RunState state, const std::string& message) {
  record.state = state;
  record.message = message;
  record.ended_s = now_s();
  record.summary = run_summary(record.path, record.kind);
  if (const Json* step = record.summary.find("step")) record.step = step->as_int();
  store(record);
}

}  // namespace

void run_registered(const RunStart& start, const std::function<void()>& work) {
  RunRecord record = begun(start);
  store(record);
  try {
    work();
  } catch (const Error& error) {
    const bool asked = error.code() == ErrorCode::kInterrupted;
    end(record, asked ? RunState::kInterrupted : RunState::kFailed, error.what());
    throw;
  } catch (const std::exception& error) {
    end(record, RunState::kFailed, error.what());
    throw;
  }
  end(record, RunState::kFinished, "");
}

}  // namespace dure
