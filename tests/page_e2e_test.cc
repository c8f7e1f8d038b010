// The page in a real browser against the real program: a chat that is streamed, stopped,
// regenerated and edited; hostile text; themes, languages, keys; runs and the engine.
#include <gtest/gtest.h>

#include "browser.h"
#include "runs/registry.h"
#include "runs/run_registration.h"
#include "served.h"
#include "tiny_model.h"

namespace dure {
namespace {

// Names as an enemy would give them; '/' cannot stand in a folder's name.
constexpr const char* kHostileName = "<img src=x onerror=window.pwned=1>";

class Page : public TinyModel {
 protected:
  static void SetUpTestSuite() {
    if (!has_chromium()) return;
    TinyModel::SetUpTestSuite();
    copy_with_context("long", 100000);
    make_runs();
    ::setenv("DURE_REGISTRY", at("runs.sqlite").c_str(), 1);
    server_ = new Served(at("long"),
                         "--max-sequences 4 --threads 1 --model-name "
                         "'<script>window.pwned=1</script>'");
    browser_ = new Browser();
  }
  static void TearDownTestSuite() {
    if (!has_chromium()) return;
    delete browser_;
    delete server_;
    ::setenv("DURE_REGISTRY", "off", 1);
    TinyModel::TearDownTestSuite();
  }
  void SetUp() override {
    if (!has_chromium()) GTEST_SKIP() << "no chromium here: apt-get install chromium";
    browser().resize(1280, 800, false);
    browser().open("about:blank");
    browser().open(address());
    ASSERT_TRUE(browser().soon("document.querySelector('.composer textarea')"));
    ASSERT_TRUE(browser().soon("document.querySelector('#model').textContent"));
  }
  void TearDown() override {
    if (!has_chromium()) return;
    EXPECT_FALSE(browser().holds("window.pwned")) << "text became a script";
    for (const std::string& complaint : browser().complaints) ADD_FAILURE() << complaint;
    browser().complaints.clear();
  }

  // One that learns now (this process), one of RL with hostile answers.
  static void make_runs() {
    const Path folder = Path(at("runs")) / kHostileName;
    make_folders(folder);
    write_file(folder / "config.json",
               R"({"objective":{"objective":"grpo"},"rollout":{},"steps":40})");
    std::string rows;
    for (int i = 1; i <= 30; ++i)
      rows += fmt::format("{{\"step\":{},\"reward\":{},\"loss\":{},\"rewards/a/mean\":0.5}}\n", i,
                          0.01 * i, 3.0 / i);
    write_file(folder / "metrics.jsonl", rows);
    std::string samples;
    for (int i = 0; i < 25; ++i)
      samples += fmt::format(
          "{{\"step\":{0},\"task\":\"<b>t</b>\",\"language\":\"ko\",\"prompt\":\"<script>window."
          "pwned=1</script>\",\"thinking\":\"{0}\",\"content\":\"<img src=x "
          "onerror=window.pwned=1>\",\"expected\":\"1\",\"reward\":{1}.0}}\n",
          i, i % 2);
    write_file(folder / "samples.jsonl", samples);
    Registry(at("runs.sqlite")).scan(at("runs"));
  }

  static Browser& browser() { return *browser_; }
  static std::string address() { return fmt::format("http://127.0.0.1:{}/", server_->port()); }
  // Types into the composer and sends.
  static void say(const std::string& text) {
    browser().click(".composer textarea");
    browser().type(text);
    browser().enter();
  }
  static bool answered() {
    return browser().soon(
        "!document.querySelector('[aria-label=Stop]') && "
        "document.querySelector('.message:last-child .stats')");
  }
  // The settings' field behind a label.
  static void set(const std::string& label, const std::string& value) {
    browser().evaluate(
        "[...document.querySelectorAll('.settings label')].find(l => "
        "l.textContent === " +
        json_quote(label) + ").control.focus()");
    browser().evaluate("document.activeElement.select()");
    browser().type(value);
  }
  static void settings(const std::string& fields, const std::string& most) {
    browser().click(".composer [aria-label=Settings]");
    browser().evaluate("document.querySelector('.settings details').open = true");
    set("Further fields of the request (JSON object)", fields);
    set("Longest answer, tokens", most);
    browser().click(".settings [aria-label='Close the settings']");
  }
  static double number(const std::string& expression) {
    const Json value = browser().evaluate(expression);
    return value.is_number() ? value.as_double() : -1;
  }

  inline static Served* server_ = nullptr;
  inline static Browser* browser_ = nullptr;
};

TEST_F(Page, ChatsStopsRegeneratesAndEdits) {
  browser().picture("hello-1280");
  settings(R"({"ignore_eos": true, "enable_thinking": false, "seed": 3})", "12");
  say("the village");
  ASSERT_TRUE(answered());
  EXPECT_EQ(number("document.querySelectorAll('.message').length"), 2);
  EXPECT_EQ(browser().text(".message.user .text"), "the village");
  EXPECT_NE(browser().text(".stats").find("12 tokens"), std::string::npos)
      << browser().text(".stats");
  EXPECT_EQ(browser().text(".mark"), "cut at the longest length");
  // A long one is stopped while it comes.
  settings(R"({"ignore_eos": true, "enable_thinking": false})", "90000");
  say("shares its work");
  ASSERT_TRUE(
      browser().soon("document.querySelector('.message:last-child .answer')?.innerText"
                     ".length > 50"));
  browser().click("[aria-label=Stop]");
  ASSERT_TRUE(browser().soon("document.querySelector('.message:last-child .mark')"));
  EXPECT_EQ(browser().text(".message:last-child .mark"), "stopped");
  // The engine is free again: the request was cancelled, not left to run.
  const auto running = [&] {
    return server_->get("/dure/engine").json().at("generator").at("running").as_int();
  };
  for (int i = 0; i < 200 && running() > 0; ++i) ::usleep(20000);
  EXPECT_EQ(running(), 0);
  // Once more, as another version; and back.
  settings(R"({"ignore_eos": true, "enable_thinking": false})", "8");
  browser().click(".message:last-child [aria-label=Regenerate]");
  ASSERT_TRUE(answered());
  EXPECT_EQ(browser().text(".message:last-child .versions span"), "2/2");
  browser().click(".message:last-child [aria-label='Earlier version']");
  EXPECT_EQ(browser().text(".message:last-child .versions span"), "1/2");
  EXPECT_EQ(browser().text(".message:last-child .mark"), "stopped");
  // The first question is changed: the later messages are another version's.
  browser().evaluate("document.querySelector('.message.user [aria-label=Edit]').click()");
  browser().evaluate("document.querySelector('.edit textarea').select()");
  browser().type("마을");
  browser().enter();
  ASSERT_TRUE(answered());
  EXPECT_EQ(number("document.querySelectorAll('.message').length"), 2);
  EXPECT_EQ(browser().text(".message.user .text"), "마을");
  EXPECT_EQ(browser().text(".message.user .versions span"), "2/2");
  // Kept: after a reload the conversation is in the list, whole.
  browser().open("about:blank");
  browser().open(address());
  ASSERT_TRUE(browser().soon("document.querySelector('.list .name')"));
  browser().click(".list .name");
  EXPECT_EQ(browser().text(".message.user .text"), "마을");
  browser().picture("chat-1280");
}

TEST_F(Page, ThinkingIsFoldedAndKeysAreEnough) {
  browser().evaluate("localStorage.removeItem('dure.settings')");
  browser().open("about:blank");
  browser().open(address());
  ASSERT_TRUE(browser().soon("document.querySelector('#model').textContent"));
  settings(R"({"ignore_eos": true, "enable_thinking": true, "seed": 1})", "40");
  browser().evaluate("document.activeElement.blur()");
  browser().press("/", 0, "/");  // To the composer.
  EXPECT_TRUE(browser().holds("document.activeElement.matches('.composer textarea')"));
  browser().type("the village");
  browser().enter();
  ASSERT_TRUE(answered());
  EXPECT_TRUE(
      browser().holds("document.querySelector('.think') && "
                      "!document.querySelector('.think').open"));
  EXPECT_TRUE(
      browser().holds("document.querySelector('.messages').getAttribute('role') === "
                      "'log' && document.querySelector('#spoken').textContent"));
  browser().press("ArrowUp", 38);  // The last question, to be changed.
  EXPECT_TRUE(browser().holds("document.activeElement.matches('.edit textarea')"));
  browser().press("Escape", 27);
  EXPECT_TRUE(browser().holds("!document.querySelector('.edit')"));
  // Everything that can be pressed has a name.
  EXPECT_EQ(number("[...document.querySelectorAll('button, input, textarea, select, a')].filter(e "
                   "=> !(e.getAttribute('aria-label') || e.innerText || e.labels?.length)).length"),
            0);
  browser().evaluate("document.querySelector('#tab-chat').focus()");
  browser().press("ArrowRight", 39);
  EXPECT_TRUE(browser().soon("document.activeElement.id === 'tab-runs'"));
}

TEST_F(Page, ToolCallsAreShownAndAnswered) {
  settings(
      R"({"seed": 1, "enable_thinking": false, "tool_choice": "required", "parallel_tool_calls": false, "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["a"]}}}]})",
      "160");
  say("the village");
  ASSERT_TRUE(answered());
  EXPECT_EQ(browser().text(".call .head b"), "add");
  EXPECT_NE(browser().text(".call pre").find("\"a\""), std::string::npos);
  browser().picture("tool-1280");
  settings(R"({"enable_thinking": false, "ignore_eos": true})", "8");
  browser().click(".call-answers textarea");
  browser().type("seven");
  browser().click(".call-answers button");
  ASSERT_TRUE(answered());
  EXPECT_EQ(browser().text(".message.tool .text"), "seven");
  EXPECT_EQ(number("document.querySelectorAll('.message').length"), 4);
}

// Markdown of an enemy: what it makes of elements is counted, not trusted.
TEST_F(Page, TextNeverBecomesMarkup) {
  const std::string show =
      "(async (text) => { const {showMarkdown} = await import('/page/markdown.js'); const e = "
      "document.createElement('div'); document.body.append(e); showMarkdown(e, text); await new "
      "Promise(done => setTimeout(done, 30)); return e; })";
  const char* hostile[] = {
      "<script>window.pwned=1</script>",
      "<img src=x onerror=window.pwned=1>",
      "text <b onclick=window.pwned=1>b</b> <svg/onload=window.pwned=1>",
      "[a](javascript:window.pwned=1) [b](JaVaScRiPt:window.pwned=1) [c](data:text/html,<script>)",
      "[d](vbscript:x) [e](&#106;avascript:window.pwned=1) [f](java\tscript:window.pwned=1)",
      "![x](javascript:window.pwned=1) ![y](https://elsewhere.example/track.png)",
      "<javascript:window.pwned=1> <https://a.example/?\"onmouseover=window.pwned=1>",
      "[ref]\n\n[ref]: javascript:window.pwned=1 \"<img src=x onerror=window.pwned=1>\"",
      "```\"><script>window.pwned=1</script>\n</code></pre><script>window.pwned=1</script>\n```",
      "| a |\n|---|\n| <img src=x onerror=window.pwned=1> |",
      "$\\href{javascript:window.pwned=1}{x}$ $\\url{javascript:window.pwned=1}$ "
      "$\\includegraphics{https://elsewhere.example/x}$ $\\htmlData{a=b}{x}$",
      "$\\def\\a{\\a\\a}\\a$ $$\\rule{1000000em}{1000000em}$$ $<img src=x onerror=window.pwned=1>$",
      "<!-- --!><script>window.pwned=1</script> <style>*{display:none}</style> <iframe src=//x>",
      "- [ ] <input autofocus onfocus=window.pwned=1>\n\n# <a id=top>x</a>",
  };
  for (const char* text : hostile) {
    const Json count = browser().evaluate(
        "(async () => { const e = await " + show + "(" + json_quote(text) +
        "); const all = [...e.querySelectorAll('*')]; const bad = all.filter(x => "
        "/^(script|img|iframe|style|object|embed|form|link|base|meta)$/i.test(x.tagName) || "
        "(x.tagName === 'A' && !/^(https?|mailto):/.test(x.getAttribute('href'))) || "
        "[...x.attributes].some(a => /^on/i.test(a.name) || "
        "/javascript:/i.test(a.value) && !/^(title|encoding)$/.test(a.name))); e.remove(); return "
        "bad.map(x => x.outerHTML); })()");
    EXPECT_EQ(count, Json(Json::Array{})) << text;
    EXPECT_TRUE(browser().holds("document.getElementById('top').tagName === 'HEADER'"));
  }
  // Deep, long and ragged text takes no tab down.
  for (const char* text : {"'>'.repeat(20000) + 'x'", "'['.repeat(20000)", "'*_`'.repeat(20000)",
                           "'- '.repeat(3000)", "'$'.repeat(50001)", "'x'.repeat(1000000)",
                           "'| a '.repeat(3000) + '\\n' + '|---'.repeat(3000)",
                           "'\\\\[ '.repeat(8000)", "'~~'.repeat(4000)", "' *a'.repeat(2600)",
                           "'<'.repeat(8000)", "'a '.repeat(20000) + '<'.repeat(20000)"}) {
    const double ms = number("(async () => { const t = performance.now(); const e = await " + show +
                             "(" + text + "); e.remove(); return performance.now() - t; })()");
    EXPECT_GT(ms, 0) << text;
    EXPECT_LT(ms, 8000) << text;
  }
}

TEST_F(Page, MarkdownCodeTablesAndMathematicsAreDrawn) {
  const std::string text =
      "# Title\n\nA **bold** *word* `code` &amp; $x^2$ costs $5 and $6.\n\n"
      "$$\\sum_{i=1}^n i = \\frac{n(n+1)}{2}$$\n\n```python\ndef f(x):  # why\n    return \"s\"\n"
      "```\n\n| a | b |\n|--:|:-:|\n| 1 | \\(y\\) |\n\n1. one\n   - two\n\n> said\n\n"
      "[link](https://a.example)<br>end";
  const Json found = browser().evaluate(
      "(async () => { const {showMarkdown} = await import('/page/markdown.js'); const e = "
      "document.createElement('div'); showMarkdown(e, " +
      json_quote(text) +
      "); const n = s => e.querySelectorAll(s).length; return [n('h3'), n('strong'), n('em'), "
      "n('.katex'), n('.katex-display'), n('.c-word'), n('.c-comment'), n('.c-string'), n('td'), "
      "n('ol ul li'), n('blockquote'), n('a[href=\"https://a.example/\"]'), n('br'), "
      "n('math')].join(' ') + e.querySelector('p').textContent.includes('& ') + "
      "e.textContent.includes('costs $5 and $6.'); })()");
  EXPECT_EQ(found, Json("1 1 1 3 1 2 1 1 2 1 1 1 1 3truetrue"));
}

TEST_F(Page, ThemesLanguagesAndWidths) {
  const auto paper = [&] {
    return browser().evaluate("getComputedStyle(document.body).backgroundColor").as_string();
  };
  browser().click("#theme");
  const std::string light = paper();
  browser().click("#theme");
  EXPECT_NE(paper(), light);
  EXPECT_TRUE(browser().holds("localStorage.getItem('dure.theme') === 'dark'"));
  browser().click("#language");
  EXPECT_EQ(browser().text("#tab-chat"), "대화");
  EXPECT_TRUE(browser().holds("document.documentElement.lang === 'ko'"));
  browser().picture("hello-dark-ko-1280");
  for (const int width : {390, 1280}) {
    browser().resize(width, 844, width == 390);
    for (const char* tab : {"chat", "runs", "engine"}) {
      browser().evaluate(fmt::format("location.hash = '{}'", tab));
      ASSERT_TRUE(browser().soon(fmt::format("!document.getElementById('{}').hidden", tab)));
      EXPECT_TRUE(browser().soon("document.documentElement.scrollWidth <= innerWidth")) << tab;
      browser().picture(fmt::format("{}-dark-ko-{}", tab, width));
    }
  }
  // On a phone the list of conversations is a drawer.
  browser().resize(390, 844, true);
  browser().evaluate("location.hash = 'chat'");
  ASSERT_TRUE(browser().soon("!document.getElementById('chat').hidden"));
  browser().click("#menu");
  EXPECT_TRUE(browser().soon("document.querySelector('.list').getBoundingClientRect().left === 0"));
  browser().press("Escape", 27);
  EXPECT_TRUE(browser().soon("document.querySelector('.list').getBoundingClientRect().right <= 0"));
  browser().evaluate("localStorage.clear()");
}

TEST_F(Page, RunsLiveWithTheirRollouts) {
  browser().click("#tab-runs");
  ASSERT_TRUE(browser().soon("document.querySelectorAll('.chart path.line').length >= 3"));
  EXPECT_NE(browser().text(".run h1").find(kHostileName), std::string::npos);
  const Path metrics = Path(at("runs")) / kHostileName / "metrics.jsonl";
  // A run of this very process: it goes on while it is looked at.
  run_registered({"rl", metrics.parent_path(), {}, 40}, [&] {
    ASSERT_TRUE(browser().soon("document.querySelector('.run-list .running')"));
    browser().evaluate("location.hash = 'runs'");
    browser().click(".run-list .running");
    append_file(metrics, "{\"step\":31,\"reward\":0.875,\"loss\":0.1}\n");
    EXPECT_TRUE(browser().soon("document.querySelector('.chart .value')?.textContent === '0.875'"));
  });
  ASSERT_TRUE(browser().soon("document.querySelectorAll('.sample').length === 10"));
  EXPECT_NE(browser().text(".sample .ask").find("<script>"), std::string::npos);
  browser().picture("runs-1280");
  browser().click(".pages button:last-child");
  EXPECT_TRUE(
      browser().soon("document.querySelector('.pages span')?.textContent === '11–20 / 25'"));
  browser().evaluate(
      "(() => { const e = document.querySelectorAll('.run select')[1]; e.value = "
      "'0'; e.dispatchEvent(new Event('change')); })()");
  EXPECT_TRUE(browser().soon("document.querySelector('.pages span')?.textContent === '1–10 / 13'"));
  // Values under the pointer, and by keys.
  browser().click(".chart svg");
  EXPECT_TRUE(
      browser().soon("/^Step \\d+: /.test(document.querySelector('.chart "
                     ".value').textContent)"));
  browser().evaluate("document.querySelector('.chart svg').focus()");
  browser().press("ArrowLeft", 37);
  EXPECT_TRUE(browser().holds("document.querySelector('.chart .here')"));
  const std::string scale = "document.querySelector('.chart text').textContent";
  const Json plain = browser().evaluate(scale);
  browser().click("#log");
  EXPECT_NE(browser().evaluate(scale), plain);
}

TEST_F(Page, TheEngineIsShown) {
  browser().click("#tab-engine");
  ASSERT_TRUE(browser().soon("document.querySelectorAll('.tile').length === 8"));
  EXPECT_NE(browser().text("#engine").find("Memory plan"), std::string::npos);
  EXPECT_TRUE(
      browser().holds("[...document.querySelectorAll('#engine th')].some(e => "
                      "e.textContent === 'KV of global layers')"));
  server_->post("/v1/completions",
                R"({"prompt":"the village","max_tokens":300,"ignore_eos":true})");
  EXPECT_TRUE(browser().soon("document.querySelectorAll('#engine .chart path.line').length === 4"));
  browser().picture("engine-1280");
}

TEST_F(Page, AKeyIsAskedForOnce) {
  const Served guarded(at("model"), "--max-sequences 2 --threads 1 --api-key sesame");
  browser().open(fmt::format("http://127.0.0.1:{}/", guarded.port()));
  ASSERT_TRUE(browser().soon("document.querySelector('dialog[open] input')"));
  browser().type("wrong");
  browser().enter();
  ASSERT_TRUE(browser().soon("document.querySelector('dialog[open] .wrong')"));
  browser().type("sesame");
  browser().enter();
  ASSERT_TRUE(browser().soon("document.querySelector('#model').textContent"));
  EXPECT_TRUE(
      browser().holds("sessionStorage.getItem('dure.key') === 'sesame' && "
                      "!Object.values(localStorage).includes('sesame')"));
  browser().open(fmt::format("http://127.0.0.1:{}/", guarded.port()));
  EXPECT_TRUE(browser().soon("document.querySelector('#model').textContent"));
  EXPECT_TRUE(browser().holds("!document.querySelector('dialog')"));
  browser().complaints.clear();  // The browser logs each 401.
}

}  // namespace
}  // namespace dure
