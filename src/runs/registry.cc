// One table; every call is one transaction, so that runs and readers need no further agreement.
#include "runs/registry.h"

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <system_error>

#include "base/error.h"
#include "base/hash.h"
#include "runs/process_identity.h"
#include "runs/run_folder.h"

namespace dure {
namespace {

constexpr int kVersion = 1;
constexpr int kBusyMs = 5000;
constexpr int kScanDepth = 5;

constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS runs(path TEXT PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, "
    "config TEXT NOT NULL, summary TEXT NOT NULL, started REAL NOT NULL, ended REAL NOT NULL, "
    "state TEXT NOT NULL, step INTEGER NOT NULL, steps INTEGER NOT NULL, message TEXT NOT NULL, "
    "host TEXT NOT NULL, process INTEGER NOT NULL, process_start INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS runs_id ON runs(id);";
constexpr const char* kColumns =
    "path, id, kind, config, summary, started, ended, state, step, steps, message, host, process, "
    "process_start";

Path settled(const Path& folder) {
  std::error_code ignored;
  const Path out = std::filesystem::weakly_canonical(std::filesystem::absolute(folder), ignored);
  return out.filename().empty() ? out.parent_path() : out;
}

double time_of(const Path& file) {
  std::error_code failed;
  const auto written = std::filesystem::last_write_time(file, failed);
  if (failed) return 0;
  const auto system = std::chrono::file_clock::to_sys(written);
  return std::chrono::duration<double>(system.time_since_epoch()).count();
}

Json json_of(const std::string& text) {
  try {
    return parse_json(text, "registry");
  } catch (const Error&) {
    return {};
  }
}

// Of a folder that no row tells of.
RunRecord record_of(const Path& folder, const std::string& kind) {
  RunRecord out{.id = run_id(folder), .kind = kind, .path = settled(folder).string()};
  const Path written = folder / (kind == "eval" ? "results.json" : "metrics.jsonl");
  out.config = run_config(folder, kind);
  out.summary = run_summary(folder, kind);
  out.started_s = time_of(kind == "eval" ? written : folder / "config.json");
  out.ended_s = time_of(written);
  out.steps = steps_asked(out.config);
  if (const Json* step = out.summary.find("step")) out.step = step->as_int();
  const bool whole = kind == "eval" || (out.step >= out.steps && path_exists(folder / "model"));
  out.state = whole ? RunState::kFinished : RunState::kInterrupted;
  return out;
}

// What the row cannot know: that the process is gone, that the folder is, how far it has come.
void look_again(RunRecord& record) {
  const Path folder(record.path);
  if (!path_exists(folder)) {
    record.state = RunState::kGone;
    return;
  }
  if (record.state != RunState::kRunning) return;
  record.summary = run_summary(folder, record.kind);
  if (const Json* step = record.summary.find("step")) record.step = step->as_int();
  const ProcessIdentity process{record.host, record.process, record.process_start};
  if (process.is_of_this_machine() && !process.lives()) record.state = RunState::kLost;
}

}  // namespace

std::string RunRecord::name() const {
  const Path folder(path);
  const std::string above = folder.parent_path().filename().string();
  return above.empty() ? folder.filename().string() : above + "/" + folder.filename().string();
}

std::string run_id(const Path& folder) {
  return fmt::format("{:016x}", xxh64(settled(folder).string())).substr(0, 10);
}

std::optional<Path> registry_path() {
  const auto of = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
  };
  if (const std::string given = of("DURE_REGISTRY"); given == "off") return std::nullopt;
  if (const std::string given = of("DURE_REGISTRY"); !given.empty()) return Path(given);
  if (const std::string state = of("XDG_STATE_HOME"); state.starts_with('/'))
    return Path(state) / "dure" / "runs.sqlite";
  if (const std::string home = of("HOME"); home.starts_with('/'))
    return Path(home) / ".local" / "state" / "dure" / "runs.sqlite";
  return std::nullopt;
}

struct Registry::Database {
  Path file;
  sqlite3* handle = nullptr;
  bool is_new = false;

  ~Database() { sqlite3_close(handle); }

  [[noreturn]] void refuse() const {
    const int code = handle != nullptr ? sqlite3_errcode(handle) : SQLITE_NOMEM;
    const ErrorCode kind = code == SQLITE_NOTADB || code == SQLITE_CORRUPT  ? ErrorCode::kCorrupt
                           : code == SQLITE_PERM || code == SQLITE_READONLY ? ErrorCode::kPermission
                                                                            : ErrorCode::kIo;
    fail(kind, "{}: the registry of runs: {}", file.string(),
         handle != nullptr ? sqlite3_errmsg(handle) : "no memory");
  }
  void run(const char* statements) const {
    if (sqlite3_exec(handle, statements, nullptr, nullptr, nullptr) != SQLITE_OK) refuse();
  }
};

namespace {

// A prepared statement, its parameters in the order they are given.
class Statement {
 public:
  Statement(sqlite3* handle, const std::string& text) {
    sqlite3_prepare_v2(handle, text.c_str(), -1, &statement_, nullptr);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  void bind(const std::string& text) {
    sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()),
                      SQLITE_TRANSIENT);
  }
  void bind(int64_t value) { sqlite3_bind_int64(statement_, ++bound_, value); }
  void bind(double value) { sqlite3_bind_double(statement_, ++bound_, value); }
  // SQLITE_ROW, SQLITE_DONE, or an error's code.
  int step() { return statement_ != nullptr ? sqlite3_step(statement_) : SQLITE_ERROR; }

  std::string text() {
    const int column = column_++;
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    const int size = sqlite3_column_bytes(statement_, column);
    return bytes != nullptr ? std::string(bytes, static_cast<size_t>(size)) : "";
  }
  int64_t integer() { return sqlite3_column_int64(statement_, column_++); }
  double number() { return sqlite3_column_double(statement_, column_++); }
  void rewind_columns() { column_ = 0; }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0, column_ = 0;
};

RunState state_of(const std::string& name) {
  for (const auto& known : enum_names(RunState{})) {
    if (known.name == name) return known.value;
  }
  return RunState::kLost;
}

RunRecord record_of(Statement& row) {
  row.rewind_columns();
  RunRecord out;
  out.path = row.text();
  out.id = row.text();
  out.kind = row.text();
  out.config = json_of(row.text());
  out.summary = json_of(row.text());
  out.started_s = row.number();
  out.ended_s = row.number();
  out.state = state_of(row.text());
  out.step = row.integer();
  out.steps = row.integer();
  out.message = row.text();
  out.host = row.text();
  out.process = row.integer();
  out.process_start = row.integer();
  return out;
}

// The run folders below `folder`; what lies in one is its own business.
void collect(const Path& folder, int depth, std::vector<std::pair<Path, std::string>>& out) {
  if (const std::optional<std::string> kind = run_kind(folder)) {
    out.emplace_back(folder, *kind);
    return;
  }
  if (depth == 0) return;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
    if (entry.is_directory(failed) && !entry.path().filename().string().starts_with('.'))
      collect(entry.path(), depth - 1, out);
  }
}

}  // namespace

Registry::Registry(const Path& file) : database_(std::make_unique<Database>()) {
  database_->file = file;
  database_->is_new = !path_exists(file);
  if (database_->is_new && file.has_parent_path()) make_folders(file.parent_path());
  if (sqlite3_open(file.c_str(), &database_->handle) != SQLITE_OK) database_->refuse();
  sqlite3_busy_timeout(database_->handle, kBusyMs);
  int64_t version = 0;
  {
    Statement statement(database_->handle, "PRAGMA user_version");
    if (statement.step() != SQLITE_ROW) database_->refuse();
    version = statement.integer();
  }
  if (version > kVersion) {
    fail(ErrorCode::kUnsupported,
         "{}: the registry of runs is of a newer program (version {}, this one knows {})",
         file.string(), version, kVersion);
  }
  if (version == kVersion) return;
  database_->run(kTable);
  database_->run(fmt::format("PRAGMA user_version = {}", kVersion).c_str());
}

Registry::~Registry() = default;

bool Registry::is_new() const { return database_->is_new; }

void Registry::put(const RunRecord& record) {
  Statement statement(database_->handle,
                      fmt::format("INSERT OR REPLACE INTO runs({}) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,"
                                  "?,?)",
                                  kColumns));
  statement.bind(record.path);
  statement.bind(record.id);
  statement.bind(record.kind);
  statement.bind(record.config.dump());
  statement.bind(record.summary.dump());
  statement.bind(record.started_s);
  statement.bind(record.ended_s);
  statement.bind(std::string(name_of(record.state)));
  statement.bind(record.step);
  statement.bind(record.steps);
  statement.bind(record.message);
  statement.bind(record.host);
  statement.bind(record.process);
  statement.bind(record.process_start);
  if (statement.step() != SQLITE_DONE) database_->refuse();
}

std::vector<RunRecord> Registry::list() const {
  std::vector<RunRecord> out;
  Statement statement(database_->handle,
                      fmt::format("SELECT {} FROM runs ORDER BY started DESC, path", kColumns));
  int code = SQLITE_ROW;
  while ((code = statement.step()) == SQLITE_ROW) out.push_back(record_of(statement));
  if (code != SQLITE_DONE) database_->refuse();
  for (RunRecord& record : out) look_again(record);
  std::stable_partition(out.begin(), out.end(),
                        [](const RunRecord& record) { return record.state == RunState::kRunning; });
  return out;
}

std::optional<RunRecord> Registry::find(const std::string& id) const {
  const bool known = !id.empty() && id.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!known) return std::nullopt;
  Statement statement(
      database_->handle,
      fmt::format("SELECT {} FROM runs WHERE id LIKE ? ORDER BY started DESC", kColumns));
  statement.bind(id + "%");
  if (statement.step() != SQLITE_ROW) return std::nullopt;
  RunRecord out = record_of(statement);
  look_again(out);
  return out;
}

int64_t Registry::scan(const Path& folder) {
  std::vector<std::pair<Path, std::string>> found;
  collect(folder, kScanDepth, found);
  int64_t added = 0;
  for (const auto& [path, kind] : found) {
    if (find(run_id(path))) continue;
    put(record_of(path, kind));
    ++added;
  }
  return added;
}

int64_t Registry::forget_gone() {
  int64_t count = 0;
  for (const RunRecord& record : list()) {
    if (record.state != RunState::kGone) continue;
    Statement statement(database_->handle, "DELETE FROM runs WHERE path = ?");
    statement.bind(record.path);
    if (statement.step() != SQLITE_DONE) database_->refuse();
    ++count;
  }
  return count;
}

std::unique_ptr<Registry> open_registry() {
  const std::optional<Path> file = registry_path();
  if (!file) return nullptr;
  auto out = std::make_unique<Registry>(*file);
  if (out->is_new() && path_exists("runs")) out->scan("runs");
  return out;
}

}  // namespace dure
