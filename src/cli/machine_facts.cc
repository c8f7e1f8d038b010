// Linux keeps these facts under /proc; elsewhere they are unknown.
#include "cli/machine_facts.h"

#include <chrono>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "cli/memory_plan.h"
#include "cli/version.h"
#include "kernels/isa.h"

namespace dure {
namespace {

std::string today() {  // in UTC
  const std::chrono::year_month_day day(
      std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()));
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
}

void set(Json& facts, const char* key, const std::string& value) {
  if (!value.empty()) facts[key] = value;
}

void set(Json& facts, const char* key, int64_t value) {
  if (value > 0) facts[key] = value;
}

}  // namespace

std::string field_of(const Path& file, const std::string& name) {
  if (!path_exists(file)) return "";
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    const size_t at = line.find_first_not_of(": \t", name.size());
    if (at != std::string::npos) return line.substr(at);
  }
  return "";
}

std::string processor_name() { return field_of("/proc/cpuinfo", "model name"); }

Json measured_facts(int64_t thread_count) {
  Json facts = Json::object();
  const BuildFacts build = build_facts();
  set(facts, "date", today());
  set(facts, "program", "dure " + build.version);
  set(facts, "commit", build.commit);
  set(facts, "compiler", build.compiler);
  set(facts, "processor", processor_name());
  set(facts, "cores", static_cast<int64_t>(std::thread::hardware_concurrency()));
  set(facts, "threads", thread_count);
  set(facts, "memory_bytes", path_exists("/proc/meminfo") ? machine_memory().total_bytes : 0);
  set(facts, "instruction_set", std::string(isa_name(isa())));
  return facts;
}

}  // namespace dure
