// Code out of answers, comparing outputs, and the grader's three modes on programs of our own.
#include "grade/code.h"

#include <gtest/gtest.h>

#include "base/testing.h"
#include "grade/code_text.h"
#include "sandbox/sandboxed_program.h"

namespace dure {
namespace {

TEST(CodeText, LastBlock) {
  EXPECT_EQ(last_code_block("no code"), std::nullopt);
  EXPECT_EQ(last_code_block("a\n```python\nx = 1\n```\nb\n```py\ny = 2\n```\nend"), "y = 2\n");
  EXPECT_EQ(last_code_block("```python\nx = 1\n```\noutput:\n```\n1\n```"), "x = 1\n");
  EXPECT_EQ(last_code_block("```\nx\n```\n```text\ny\n```"), "y\n");
  EXPECT_EQ(last_code_block("````python\n```\nx\n```\n````"), "```\nx\n```\n");
  EXPECT_EQ(last_code_block("~~~Python\nx\n~~~"), "x\n");
  EXPECT_EQ(last_code_block("```python\ncut"), "cut\n");
  EXPECT_EQ(last_code_block("    ```python\n    x\n    ```"), "    x\n");
  EXPECT_EQ(last_code_block("``x``"), std::nullopt);
}

TEST(CodeText, ContinuedFunction) {
  EXPECT_EQ(continued_function("    return 1\n\ndef g():\n    pass"), "    return 1\n");
  EXPECT_EQ(continued_function("    return 1\n# end"), "    return 1");
  EXPECT_EQ(continued_function("    def inner():\n        pass\n    return 1"),
            "    def inner():\n        pass\n    return 1");
}

TEST(CodeText, SameOutput) {
  EXPECT_TRUE(same_output("1 2\n3\n", "1 2\n3"));
  EXPECT_TRUE(same_output("\n  1 2  \n 3\n\n", "1 2\n3"));
  EXPECT_TRUE(same_output("1.50  2", "1.5 2.000"));
  EXPECT_TRUE(same_output("1e3", "1000"));
  EXPECT_TRUE(same_output("-0", "0.0"));
  EXPECT_TRUE(same_output("", "\n"));
  EXPECT_TRUE(same_output("Inf", "infinity"));
  EXPECT_FALSE(same_output("nan 1", "nan  1"));
  EXPECT_FALSE(same_output("1.5000001", "1.5"));
  EXPECT_FALSE(same_output("50000000000000001", "50000000000000000"));
  EXPECT_FALSE(same_output("YES", "yes"));
  EXPECT_FALSE(same_output("a  b", "a b"));
  EXPECT_FALSE(same_output("1\n\n2", "1\n2"));
  std::string where;
  EXPECT_FALSE(same_output("1\n3", "1\n2", &where));
  EXPECT_EQ(where, "line 2");
  EXPECT_FALSE(same_output("1", "1\n2", &where));
  EXPECT_EQ(where, "1 lines, not 2");
}

TEST(CodeText, SameValue) {
  const auto same = [](const char* written, const char* expected) {
    return same_value(parse_json(written, "a"), parse_json(expected, "b"));
  };
  EXPECT_TRUE(same("1", "1.0"));
  EXPECT_TRUE(same("true", "1"));
  EXPECT_TRUE(same("[1, [2]]", "[1, [2]]"));
  EXPECT_TRUE(same(R"({"dict": [["a", 1]]})", R"({"a": 1})"));
  EXPECT_TRUE(same("null", "null"));
  EXPECT_FALSE(same("\"1\"", "1"));
  EXPECT_FALSE(same("[1]", "[1, 2]"));
  EXPECT_FALSE(same(R"x([{"other": "(1, 2)"}])x", "[[1, 2]]"));
  EXPECT_FALSE(same(R"({"dict": [[1, 1]]})", R"({"1": 1})"));
  EXPECT_FALSE(same("null", "0"));
}

TEST(CodeText, CodeOfAnswer) {
  const CodeOptions stdio, completion{.mode = CodeMode::kCompletion};
  EXPECT_EQ(code_of_answer("x = 1\n[DONE]\nmore", stdio), "x = 1\n");
  EXPECT_EQ(code_of_answer("    return 1\nprint(2)", completion), "    return 1");
  EXPECT_EQ(code_of_answer("def f():\n  pass\ndef g():\n  pass", completion),
            "def f():\n  pass\ndef g():\n  pass");
  EXPECT_EQ(code_of_answer("words", {.part = CodePart::kBlock}), "");
}

class CodeGrading : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto& missing = sandbox_missing()) GTEST_SKIP() << *missing;
  }
  static std::unique_ptr<Grader> grader(const std::string& options) {
    return make_grader(standard_graders(), parse_json(options, "options"), {}, "test");
  }
  static Item item(const std::string& reference) {
    return {.id = "1", .reference = parse_json(reference, "reference")};
  }
  static double fraction(const Grade& grade) { return grade.parts.at("fraction").as_double(); }
};

TEST_F(CodeGrading, Asserts) {
  const auto asserts = grader(R"({"name": "code", "mode": "asserts", "seconds": 2})");
  const Item twice = item(R"({"test_list": ["assert f(1) == 2", "assert f(2) == 4",
                              "assert f('a') == 'aa'"], "test_setup_code": "base = 2"})");
  asserts->check(twice);
  EXPECT_EQ(asserts->grade(twice, {.content = "def f(x): return base * x"}).score, 1.0);
  const Grade half = asserts->grade(twice, {.content = "def f(x): return x + x if x != 2 else 5"});
  EXPECT_EQ(half.score, 0.0);
  EXPECT_DOUBLE_EQ(fraction(half), 2.0 / 3);
  EXPECT_EQ(half.reason, "test 2 of 3: assert f(2) == 4: AssertionError: ");
  EXPECT_EQ(asserts->grade(twice, {.content = "def f(x) return"}).score, 0.0);
  EXPECT_EQ(asserts->grade(twice, {.content = ""}).reason, "there is no code in the answer");
  const Grade slow = asserts->grade(twice, {.content = "def f(x):\n while x != 'a': pass"});
  EXPECT_NE(slow.reason.find("time was over"), std::string::npos) << slow.reason;
  // Bytes that are no text, and a program that would like to have passed.
  EXPECT_EQ(asserts->grade(twice, {.content = "def f(x): return '\xff\xfe\0'"}).score, 0.0);
  EXPECT_EQ(asserts->grade(twice, {.content = "print('1 0 null')\nimport os\nos._exit(0)"}).reason,
            "test 1 of 3: assert f(1) == 2: it ended before its tests did");
  EXPECT_EQ(message_of([&] { asserts->check(item(R"({"test_list": []})")); }),
            "item 1: reference: test_list: is empty");
  EXPECT_EQ(message_of([&] { asserts->check(item(R"({})")); }),
            "item 1: reference: 'test_list' is missing");
}

TEST_F(CodeGrading, Stdio) {
  const Item sums =
      item(R"({"inputs": ["1 2\n", "3 4\n", "5 6\n"], "outputs": ["3\n", "7\n", "11"]})");
  const auto first = grader(R"({"name": "code", "seconds": 1})");
  const auto every = grader(R"({"name": "code", "seconds": 1, "every_test": true})");
  first->check(sums);
  const std::string right =
      "```python\nif __name__ == '__main__':\n    print(sum(map(int, input().split())))\n```";
  EXPECT_EQ(first->grade(sums, {.content = right}).score, 1.0);
  const std::string wrong = "a, b = map(int, input().split())\nprint(a + b if a != 3 else 8)";
  EXPECT_EQ(first->grade(sums, {.content = wrong}).reason,
            R"(test 2 of 3: line 1: input "3 4\n", expected "7\n", got "8\n")");
  EXPECT_DOUBLE_EQ(fraction(first->grade(sums, {.content = wrong})), 1.0 / 3);
  EXPECT_DOUBLE_EQ(fraction(every->grade(sums, {.content = wrong})), 2.0 / 3);
  const Grade thrown = first->grade(sums, {.content = "print(1 / 0)"});
  EXPECT_NE(thrown.reason.find("ZeroDivisionError"), std::string::npos) << thrown.reason;
  const std::string leaving =
      "import sys\nprint(sum(map(int, sys.stdin.read().split())))\nsys.exit()";
  EXPECT_EQ(first->grade(sums, {.content = leaving}).score, 1.0);
  // Names that published checkers put in front.
  EXPECT_EQ(first->grade(sums, {.content = "print(reduce(add, [int(x) for x in input().split()]))"})
                .score,
            1.0);
  EXPECT_THROW(first->check(item(R"({"inputs": ["1"], "outputs": []})")), Error);
}

TEST_F(CodeGrading, Functions) {
  const auto functions = grader(R"({"name": "code", "seconds": 1})");
  const Item pairs = item(
      R"({"fn_name": "pairs", "inputs": ["[1, 2]\n3", "[]\n0"], "outputs": ["[[1, 3], [2, 3]]", "[]"]})");
  const auto score = [&](const std::string& code) {
    const Grade grade = functions->grade(pairs, {.content = code});
    return std::make_pair(grade.score.value(), grade.reason);
  };
  EXPECT_EQ(score("class Solution:\n  def pairs(self, a: List[int], b):\n    return tuple([x, b] "
                  "for x in a)"),
            std::make_pair(1.0, std::string()));
  EXPECT_EQ(score("def pairs(a, b): return [[x, b] for x in a]").first, 1.0);
  EXPECT_EQ(score("def pairs(a, b): return [(x, b) for x in a]").first, 0.0);
  EXPECT_EQ(score("def pairs(a, b): return [[x, b] for x in a] or None").second,
            R"(test 2 of 2: it returned something else: input "[]\n0", expected "[]", got "null")");
  EXPECT_NE(score("def pairs(a, b):\n  while True: pass").second.find("TooLong"),
            std::string::npos);
  EXPECT_NE(score("def other(): pass").second.find("KeyError"), std::string::npos);
}

// Programs that would pass without doing what is asked: neither verdicts nor tests are within
// their reach.
TEST_F(CodeGrading, Forgeries) {
  const auto asserts = grader(R"({"name": "code", "mode": "asserts", "seconds": 3})");
  const auto completion = grader(R"({"name": "code", "mode": "completion", "seconds": 3})");
  const Item one = item(R"({"test_list": ["assert f(1) == 2"]})");
  const Item check = item(R"({"prompt": "def f(x):\n", "entry_point": "f",
                              "test": "def check(c):\n  assert c(1) == 99\n"})");
  const char* const programs[] = {
      // Every descriptor: read for a key, written to as a report.
      "import os\nfor file in range(64):\n  try: k = os.pread(file, 100, 0).decode().strip()\n"
      "  except OSError: k = ''\n  for line in (k + ' 0 null\\n', '0 null\\n', '-1 null\\n'):\n"
      "    try: os.write(file, line.encode())\n    except OSError: pass\nos._exit(0)",
      "import os\nos.write(1, b'0 null\\n')\nos._exit(0)",
      // Frames and memory of its own process.
      "import sys, gc\ndef f(x):\n  frame = sys._getframe()\n  while frame:\n"
      "    for v in list(frame.f_locals.values()) + list(frame.f_globals.values()):\n"
      "      if callable(v):\n        try: v(0, None)\n        except BaseException: pass\n"
      "    frame = frame.f_back\n  return None",
      "import gc\ndef f(x):\n  found = [o for o in gc.get_objects() if 'assert' in "
      "repr(o)[:9999]]\n"
      "  return 2 if any('== 2' in repr(o)[:9999] for o in found) else None",
      "import os\ndef f(x):\n  for name in os.listdir('/program'):\n"
      "    if '=' + '= 2' in open('/program/' + name).read(): return 2",
      // Values that are equal to everything, and builtins of its own.
      "class E:\n  def __eq__(self, other): return True\ndef f(x): return E()",
      "class E(int):\n  def __eq__(self, other): return True\n  __hash__ = int.__hash__\n"
      "def f(x): return E(7)",
      "import builtins\nbuiltins.AssertionError = type('X', (BaseException,), {})\n"
      "def f(x): return 0",
      "def f(x):\n  raise SystemExit(0)",
      "def f(x):\n  import os\n  os._exit(0)",
      "def f(x):\n  import os, signal\n  os.kill(os.getppid(), signal.SIGKILL)",
  };
  for (const char* program : programs) {
    const std::string block = std::string("```python\n") + program + "\n```";
    const Grade grade = asserts->grade(one, {.content = block});
    EXPECT_EQ(grade.score, 0.0) << program;
    EXPECT_FALSE(grade.reason.empty());
    EXPECT_EQ(completion->grade(check, {.content = block}).score, 0.0) << program;
  }
  // Where tests mean Python's own set, a program's does not count; where they mean the program's
  // own sum, it does.
  const Item sets = item(R"PY({"test_list": ["assert set(f(1)) == set([2])"]})PY");
  EXPECT_EQ(asserts->grade(sets, {.content = "set = lambda x: 0\ndef f(x): return [3]"}).score,
            0.0);
  EXPECT_EQ(asserts->grade(sets, {.content = "def f(x): return [2, 2]"}).score, 1.0);
  const Item sums = item(R"({"test_list": ["assert sum(10, 15) == 6"]})");
  EXPECT_EQ(asserts->grade(sums, {.content = "def sum(a, b): return 6"}).score, 1.0);
}

// What is no plain data stays in the program's process, and can be called and looked at.
TEST_F(CodeGrading, Objects) {
  const auto asserts = grader(R"({"name": "code", "mode": "asserts", "seconds": 3})");
  const std::string code =
      "import math\nfrom collections import Counter\nfrom fractions import Fraction\n"
      "class Node:\n  def __init__(self, v): self.v, self.next = v, None\n"
      "  def double(self): return 2 * self.v\n"
      "def total(n): return n.v + (total(n.next) if n.next else 0)\n"
      "def counts(x): return Counter(x)\ndef pairs(x): return {(i, i + 1): {i} for i in x}\n"
      "def numbers(): return (i * 10 ** 30 for i in range(3))\ndef half(): return Fraction(1, 2)\n"
      "def big(): return 7 ** 9000\ndef bad(): raise ValueError('no')\n"
      "def adder(a): return lambda b: a + b";
  const Item tests = item(R"PY({"test_setup_code": "root = Node(1)\nroot.next = Node(2)",
    "test_list": ["assert total(root) == 3", "assert root.next.v == 2 and root.double() == 2",
      "assert counts('aab') == {'a': 2, 'b': 1}", "assert pairs([1]) == {(1, 2): {1}}",
      "assert list(numbers()) == [0, 10 ** 30, 2 * 10 ** 30]", "assert half() == 0.5",
      "assert big() == 7 ** 9000", "assert math.isclose(half(), 0.5)", "assert adder(1)(2) == 3",
      "root.v = 5\nassert total(root) == 7", "assert root is not root.next and root != 1",
      "try:\n  bad()\n  assert 0\nexcept ValueError as e:\n  assert str(e) == 'no'"]})PY");
  const Grade grade = asserts->grade(tests, {.content = code});
  EXPECT_EQ(grade.score, 1.0) << grade.reason;
}

// Any bytes, numbers and depths: a verdict, never an error.
TEST_F(CodeGrading, WhatCannotBeRead) {
  const auto asserts = grader(R"({"name": "code", "mode": "asserts", "seconds": 2})");
  const auto stdio = grader(R"({"name": "code", "seconds": 2})");
  const Item one = item(R"({"test_list": ["assert f(1) == 2"]})");
  const Item line = item(R"({"inputs": ["1\n"], "outputs": ["2\n"]})");
  const Item call = item(R"({"fn_name": "f", "inputs": ["1"], "outputs": ["2"]})");
  for (const char* body :
       {"raise Exception('\\ud800')", "return '\\ud800'",
        "raise type('\\ud800', (Exception,), {})()",
        "a = []\n  for i in range(900): a = [a]\n  return a", "return 10 ** 5000",
        "return float('nan')", "a = []; a.append(a)\n  return a", "return {'\\udfff': 1}",
        "return object()", "return lambda: 0", "return b'\\xff'",
        "import os\n  for n in range(3, 64):\n    try: os.write(n, b'0 {bad\\n-2 null\\n7 null\\n"
        "99999999999999999999 null\\n-1 null\\n0 \\xff\\n0 [1]\\n')\n    except OSError: pass",
        "import os\n  os.write(3, b'0 ' + b'[' * 9999 + b'\\n')\n  os._exit(0)",
        "class E(Exception):\n    def __str__(self): raise E()\n  raise E()"}) {
    const std::string code = std::string("def f(x):\n  ") + body + "\n";
    EXPECT_EQ(asserts->grade(one, {.content = code}).score, 0.0) << body;
    EXPECT_EQ(stdio->grade(line, {.content = code + "print(f(1))\n"}).score, 0.0) << body;
    const Grade called = stdio->grade(call, {.content = code});
    EXPECT_EQ(called.score, 0.0) << body;
    EXPECT_FALSE(called.reason.empty()) << body;
  }
}

}  // namespace
}  // namespace dure
