// SQLite with a write-ahead log: a put is one transaction, which a kill of the process cannot undo.
#include "eval/answer_store.h"

#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "grade/program_files.h"

namespace dure {
namespace {

constexpr int kVersion = 2;  // 2: answers.failure

constexpr const char* kTables =
    "CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS subjects(name TEXT PRIMARY KEY, identity TEXT NOT NULL, "
    "facts TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS measures(subject TEXT NOT NULL, task TEXT NOT NULL, settings TEXT "
    "NOT NULL, about TEXT NOT NULL, items TEXT NOT NULL, items_total INTEGER NOT NULL, samples "
    "INTEGER NOT NULL, PRIMARY KEY(subject, task));"
    "CREATE TABLE IF NOT EXISTS answers(subject TEXT NOT NULL, task TEXT NOT NULL, item TEXT NOT "
    "NULL, sample INTEGER NOT NULL, grp TEXT NOT NULL, messages TEXT NOT NULL, expected TEXT NOT "
    "NULL, content TEXT NOT NULL, reasoning TEXT NOT NULL, tool_calls TEXT NOT NULL, "
    "log_likelihoods TEXT NOT NULL, finish TEXT NOT NULL, turns INTEGER NOT NULL, prompt_tokens "
    "INTEGER NOT NULL, tokens INTEGER NOT NULL, seconds REAL NOT NULL, grade_seconds REAL NOT "
    "NULL, score REAL, extracted TEXT NOT NULL, reason TEXT NOT NULL, parts TEXT NOT NULL, "
    "failure TEXT NOT NULL DEFAULT '', PRIMARY KEY(subject, task, item, sample));";

// Form 1 kept no failures: those of verifiers and environments are known by their reasons.
constexpr const char* kFailureOfForm1 =
    "CASE WHEN reason LIKE 'the verifier: %' OR reason LIKE 'the environment: %' OR reason LIKE "
    "'the grader failed: %' THEN 'earlier' ELSE '' END";

constexpr const char* kAnswerColumns =
    "task, item, sample, grp, messages, expected, content, reasoning, tool_calls, "
    "log_likelihoods, finish, turns, prompt_tokens, tokens, seconds, grade_seconds, score, "
    "extracted, reason, parts";

[[noreturn]] void damaged(const std::string& file, const std::string& what) {
  fail(ErrorCode::kCorrupt,
       "{}: damaged, or no file of answers ({}): take it away and measure again, or bring back a "
       "copy",
       file, what);
}

class Statement {
 public:
  Statement(sqlite3* handle, const std::string& text) : handle_(handle) {
    if (sqlite3_prepare_v2(handle, text.c_str(), -1, &statement_, nullptr) != SQLITE_OK) refuse();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(const std::string& text) {
    sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()),
                      SQLITE_TRANSIENT);
    return *this;
  }
  Statement& bind(const Json& json) { return bind(json.dump()); }
  Statement& bind(int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  Statement& bind(double value) {
    sqlite3_bind_double(statement_, ++bound_, value);
    return *this;
  }
  Statement& bind(const std::optional<double>& value) {
    if (value) return bind(*value);
    sqlite3_bind_null(statement_, ++bound_);
    return *this;
  }
  bool row() {
    column_ = 0;
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) refuse();
    return code == SQLITE_ROW;
  }
  void run() {
    while (row()) {
    }
  }

  std::string text() {
    const int column = column_++;
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    const int size = sqlite3_column_bytes(statement_, column);
    return bytes != nullptr ? std::string(bytes, static_cast<size_t>(size)) : "";
  }
  Json json() {
    const char* file = sqlite3_db_filename(handle_, "main");
    try {
      return parse_json(text(), "a field");
    } catch (const Error& error) {
      damaged(file != nullptr ? file : "answers", error.what());
    }
  }
  int64_t integer() { return sqlite3_column_int64(statement_, column_++); }
  double number() { return sqlite3_column_double(statement_, column_++); }
  std::optional<double> maybe() {
    const int column = column_++;
    if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
    return sqlite3_column_double(statement_, column);
  }

 private:
  [[noreturn]] void refuse() const {
    const int code = sqlite3_errcode(handle_);
    const char* file = sqlite3_db_filename(handle_, "main");
    const ErrorCode kind = code == SQLITE_NOTADB || code == SQLITE_CORRUPT  ? ErrorCode::kCorrupt
                           : code == SQLITE_PERM || code == SQLITE_READONLY ? ErrorCode::kPermission
                                                                            : ErrorCode::kIo;
    const std::string name = file != nullptr ? file : "answers";
    if (kind == ErrorCode::kCorrupt) damaged(name, sqlite3_errmsg(handle_));
    fail(kind, "{}: {}", name, sqlite3_errmsg(handle_));
  }

  sqlite3* handle_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0, column_ = 0;
};

std::vector<ToolCall> calls_of(const Json& json) {
  std::vector<ToolCall> out;
  for (const Json& one : json.as_array()) {
    const Json* id = one.find("id");
    out.push_back({.id = id != nullptr ? id->as_string() : "",
                   .name = one.at("name").as_string(),
                   .arguments = one.at("arguments")});
  }
  return out;
}

// {"values", "tokens"}; null where an answer was sampled.
Json likelihoods_json(const Answer& answer) {
  if (answer.log_likelihoods.empty()) return {};
  Json out = Json::object();
  out["values"] = Json::array_of(answer.log_likelihoods);
  out["tokens"] = Json::array_of(answer.continuation_tokens);
  return out;
}

AnswerRow read_answer(Statement& s) {
  AnswerRow out{.task = s.text(), .item = s.text()};
  out.sample = s.integer();
  out.group = s.text();
  out.messages = s.json();
  out.expected = s.json();
  out.answer.content = s.text();
  out.answer.reasoning = s.text();
  out.answer.tool_calls = calls_of(s.json());
  if (const Json told = s.json(); !told.is_null()) {
    for (const Json& value : told.at("values").as_array())
      out.answer.log_likelihoods.push_back(value.as_double());
    for (const Json& count : told.at("tokens").as_array())
      out.answer.continuation_tokens.push_back(count.as_int());
  }
  out.end = enum_from_name<SaidEnd>(s.text(), "answers: finish");
  out.answer.finished = out.end == SaidEnd::kStop;
  out.turns = s.integer();
  out.prompt_tokens = s.integer();
  out.tokens = s.integer();
  out.seconds = s.number();
  out.grade_seconds = s.number();
  out.grade.score = s.maybe();
  out.grade.extracted = s.text();
  out.grade.reason = s.text();
  out.grade.parts = s.json();
  out.grade.failure = s.text();
  return out;
}

std::string short_text(const Json& json) {
  std::string text = json.dump();
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

std::string settings_difference(const Json& before, const Json& now) {
  if (!before.is_object() || !now.is_object())
    return fmt::format("{} before, {} now", short_text(before), short_text(now));
  std::string out;
  const auto add = [&](const std::string& name, const std::string& what) {
    out += (out.empty() ? "" : "; ") + name + ": " + what;
  };
  for (const auto& [name, value] : now.as_object()) {
    const Json* old = before.find(name);
    if (old == nullptr) {
      add(name, short_text(value) + " is new");
    } else if (*old != value) {
      add(name, settings_difference(*old, value));
    }
  }
  for (const auto& [name, value] : before.as_object())
    if (!now.contains(name)) add(name, short_text(value) + " is gone");
  return out;
}

struct AnswerStore::Database {
  sqlite3* handle = nullptr;
  int64_t form = kVersion;  // of the file
  mutable std::mutex mutex;

  enum class Open { kMake, kExisting };
  // One that is there is only looked at: another process may be writing it, unless nobody can.
  Database(const Path& file, Open how) {
    const Path folder = file.has_parent_path() ? file.parent_path() : ".";
    const bool writable = ::access(folder.c_str(), W_OK) == 0 &&
                          (!path_exists(file) || ::access(file.c_str(), W_OK) == 0);
    if (how == Open::kExisting && !writable) {
      open("file:" + escaped(file.string()) + "?immutable=1",
           SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, file);
    } else {
      open(file.string(), SQLITE_OPEN_READWRITE | (how == Open::kMake ? SQLITE_OPEN_CREATE : 0),
           file);
    }
    sqlite3_busy_timeout(handle, 5000);
    if (how == Open::kExisting) {
      check_version(file, how);
      return;
    }
    write_ahead();
    Statement(handle, "PRAGMA synchronous=NORMAL").run();
    check_version(file, how);
    if (sqlite3_exec(handle, kTables, nullptr, nullptr, nullptr) != SQLITE_OK)
      fail(ErrorCode::kIo, "{}: {}", file.string(), sqlite3_errmsg(handle));
    if (form < kVersion) bring_up();
  }
  // A file of form 1 that is written to.
  void bring_up() {
    Statement(handle, "BEGIN IMMEDIATE").run();
    Statement(handle, "ALTER TABLE answers ADD COLUMN failure TEXT NOT NULL DEFAULT ''").run();
    Statement(handle, std::string("UPDATE answers SET failure=") + kFailureOfForm1).run();
    Statement(handle, fmt::format("PRAGMA user_version={}", kVersion)).run();
    Statement(handle, "COMMIT").run();
    form = kVersion;
  }
  ~Database() { sqlite3_close(handle); }

  void open(const std::string& name, int flags, const Path& file) {
    const int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
    if (code != SQLITE_OK)
      fail(ErrorCode::kIo, "{}: {}", file.string(),
           handle != nullptr ? sqlite3_errmsg(handle) : "no memory");
  }
  // What a URI gives a meaning to.
  static std::string escaped(const std::string& path) {
    std::string out;
    for (const char c : path)
      out += c == '%' || c == '?' || c == '#'
                 ? fmt::format("%{:02x}", static_cast<unsigned char>(c))
                 : std::string(1, c);
    return out;
  }

  // SQLite does not wait for others here, whatever its timeout. Without it readers and the writer
  // wait for each other, which is slower and not wrong.
  void write_ahead() const {
    for (int i = 0; i < 100; ++i) {
      if (sqlite3_exec(handle, "PRAGMA journal_mode=WAL", nullptr, nullptr, nullptr) == SQLITE_OK)
        return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  void check_version(const Path& file, Open how) {
    Statement version(handle, "PRAGMA user_version");
    const int64_t found = version.row() ? version.integer() : 0;
    if (found > kVersion)
      fail(ErrorCode::kUnsupported, "{}: made by a newer program (form {}; {} is known here)",
           file.string(), found, kVersion);
    if (found == 0 && how == Open::kExisting)
      fail(ErrorCode::kCorrupt, "{}: it holds no answers", file.string());
    if (how == Open::kExisting) Statement(handle, "SELECT 1 FROM subjects LIMIT 1").run();
    if (found == 0) Statement(handle, fmt::format("PRAGMA user_version={}", kVersion)).run();
    form = found == 0 ? kVersion : found;
  }
};

AnswerStore::AnswerStore(const Path& file)
    : database_(std::make_unique<Database>(file, Database::Open::kMake)) {}
AnswerStore::AnswerStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}
AnswerStore::~AnswerStore() = default;
AnswerStore::AnswerStore(AnswerStore&&) noexcept = default;

AnswerStore AnswerStore::open_existing(const Path& file) {
  if (!path_exists(file))
    fail(ErrorCode::kNotFound, "{}: there are no answers here (`dure eval --out` writes them)",
         file.string());
  return AnswerStore(std::make_unique<Database>(file, Database::Open::kExisting));
}

void AnswerStore::begin_subject(const SubjectRow& subject) {
  const std::lock_guard lock(database_->mutex);
  Statement known(database_->handle, "SELECT identity FROM subjects WHERE name=?");
  known.bind(subject.name);
  if (known.row()) {
    if (const Json before = known.json(); before != subject.identity) {
      fail(ErrorCode::kInvalidArgument,
           "'{}' has answers of another model here ({}): give it another name, as NAME=MODEL, or "
           "--out another folder",
           subject.name, settings_difference(before, subject.identity));
    }
  }
  Statement put(database_->handle, "INSERT OR REPLACE INTO subjects VALUES(?,?,?)");
  put.bind(subject.name).bind(subject.identity).bind(subject.facts).run();
}

namespace {

// The grader as grades depend on it, without the files that its program is made of.
Json without_files(const Json& settings) {
  Json out = Json::object();
  for (const auto& [name, value] : settings.as_object()) {
    if (name != kGraderFiles) out[name] = name == "grader" ? program_identity(value) : value;
  }
  return out;
}

// By name; empty: none, or nobody knows what they were.
std::string changed_files(const Json& before, const Json& now) {
  const Json* old = before.find(kGraderFiles);
  const Json* files = now.find(kGraderFiles);
  if (old == nullptr || (files != nullptr && *old == *files)) return "";
  std::string out;
  const auto add = [&](const std::string& name) { out += (out.empty() ? "" : ", ") + name; };
  for (const auto& [name, hash] : old->as_object())
    if (files == nullptr || !files->contains(name) || files->at(name) != hash) add(name);
  if (files == nullptr) return out;
  for (const auto& [name, hash] : files->as_object())
    if (!old->contains(name)) add(name);
  return out;
}

}  // namespace

void AnswerStore::grade_again(const Database& database, const std::string& subject,
                              const std::string& task, const std::string& changed) {
  Statement mark(database.handle,
                 "UPDATE answers SET failure='changed', score=NULL WHERE subject=? AND task=?");
  mark.bind(subject).bind(task).run();
  log_warn("task {}: {} changed since {} answers of '{}' were graded: they are graded again", task,
           changed, sqlite3_changes(database.handle), subject);
}

void AnswerStore::begin_measure(const std::string& subject, const MeasureRow& measure) {
  const std::lock_guard lock(database_->mutex);
  Statement known(database_->handle,
                  "SELECT settings FROM measures WHERE subject=? AND task=? AND EXISTS(SELECT 1 "
                  "FROM answers WHERE answers.subject=measures.subject AND "
                  "answers.task=measures.task)");
  known.bind(subject).bind(measure.task);
  if (known.row()) {
    const Json before = known.json();
    const Json then = without_files(before), now = without_files(measure.settings);
    if (then != now) {
      fail(ErrorCode::kInvalidArgument,
           "task {}: '{}' has answers under other settings here ({}): --out another folder, or the "
           "settings of before",
           measure.task, subject, settings_difference(then, now));
    }
    if (const std::string changed = changed_files(before, measure.settings); !changed.empty())
      grade_again(*database_, subject, measure.task, changed);
  }
  Statement put(database_->handle, "INSERT OR REPLACE INTO measures VALUES(?,?,?,?,?,?,?)");
  put.bind(subject).bind(measure.task).bind(measure.settings).bind(measure.about);
  put.bind(Json::array_of(measure.items)).bind(measure.items_total).bind(measure.samples).run();
}

void AnswerStore::set_suite(const Json& suite) {
  const std::lock_guard lock(database_->mutex);
  Statement put(database_->handle, "INSERT OR REPLACE INTO facts VALUES('suite',?)");
  put.bind(suite).run();
}

Json AnswerStore::suite() const {
  const std::lock_guard lock(database_->mutex);
  Statement get(database_->handle, "SELECT value FROM facts WHERE name='suite'");
  return get.row() ? get.json() : Json();
}

bool AnswerStore::empty() const {
  const std::lock_guard lock(database_->mutex);
  return !Statement(database_->handle, "SELECT 1 FROM answers LIMIT 1").row();
}

void AnswerStore::put(const std::string& subject, const AnswerRow& row) {
  const std::lock_guard lock(database_->mutex);
  Statement put(database_->handle,
                "INSERT OR REPLACE INTO answers VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,"
                "?)");
  put.bind(subject).bind(row.task).bind(row.item).bind(row.sample).bind(row.group);
  put.bind(row.messages).bind(row.expected).bind(row.answer.content).bind(row.answer.reasoning);
  put.bind(plain_calls_json(row.answer.tool_calls)).bind(likelihoods_json(row.answer));
  put.bind(std::string(name_of(row.end))).bind(row.turns).bind(row.prompt_tokens);
  put.bind(row.tokens).bind(row.seconds).bind(row.grade_seconds).bind(row.grade.score);
  put.bind(row.grade.extracted).bind(row.grade.reason).bind(row.grade.parts);
  put.bind(row.grade.failure).run();
}

std::set<std::pair<std::string, int64_t>> AnswerStore::answered(const std::string& subject,
                                                                const std::string& task) const {
  const std::lock_guard lock(database_->mutex);
  Statement get(database_->handle, "SELECT item, sample FROM answers WHERE subject=? AND task=?");
  get.bind(subject).bind(task);
  std::set<std::pair<std::string, int64_t>> out;
  while (get.row()) {
    std::string item = get.text();
    out.emplace(std::move(item), get.integer());
  }
  return out;
}

std::vector<AnswerRow> AnswerStore::ungraded(const std::string& subject,
                                             const std::string& task) const {
  std::vector<AnswerRow> out = answers(subject, task);
  std::erase_if(out, [](const AnswerRow& row) { return row.grade.failure.empty(); });
  return out;
}

std::vector<SubjectRow> AnswerStore::subjects() const {
  const std::lock_guard lock(database_->mutex);
  Statement get(database_->handle, "SELECT name, identity, facts FROM subjects ORDER BY rowid");
  std::vector<SubjectRow> out;
  while (get.row()) {
    SubjectRow& one = out.emplace_back();
    one.name = get.text();
    one.identity = get.json();
    one.facts = get.json();
  }
  return out;
}

std::vector<MeasureRow> AnswerStore::measures(const std::string& subject) const {
  const std::lock_guard lock(database_->mutex);
  Statement get(database_->handle,
                "SELECT task, settings, about, items, items_total, samples FROM measures WHERE "
                "subject=? ORDER BY rowid");
  get.bind(subject);
  std::vector<MeasureRow> out;
  while (get.row()) {
    MeasureRow& one = out.emplace_back();
    one.task = get.text();
    one.settings = get.json();
    one.about = get.json();
    const Json ids = get.json();
    for (const Json& id : ids.as_array()) one.items.push_back(id.as_string());
    one.items_total = get.integer();
    one.samples = get.integer();
  }
  return out;
}

std::vector<AnswerRow> AnswerStore::answers(const std::string& subject,
                                            const std::string& task) const {
  const std::lock_guard lock(database_->mutex);
  Statement get(database_->handle, std::string("SELECT ") + kAnswerColumns + ", " +
                                       (database_->form < 2 ? kFailureOfForm1 : "failure") +
                                       " FROM answers WHERE subject=? AND task=? ORDER BY item, "
                                       "sample");
  get.bind(subject).bind(task);
  std::vector<AnswerRow> out;
  while (get.row()) {
    try {
      out.push_back(read_answer(get));
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCorrupt) throw;
      damaged(sqlite3_db_filename(database_->handle, "main"), error.what());
    }
  }
  return out;
}

}  // namespace dure
