// grade/function_call.h: calls of functions compared with those that are right: the grader
// `function_call`.
//
// Owns BFCL's matching of single-turn calls, from an answer's tool calls or from its text where it
// has none. Not here: reading Python's calls (python_value.h), episodes that run tools
// (tau2.h).
//
// An item's reference, in the fields that BFCL is published with: {"function": [declarations],
// "ground_truth": [{name: {parameter: [values that are right]}}]}; "" among the values: it may be
// left out. With "category" holding "irrelevance": right is no call at all; "relevance": any.
//
// Rules (gorilla, bfcl_eval/eval_checker/ast_eval/ast_checker.py, commit a6da28ee): as many calls
// as are right, in any order, each taken once; required parameters are there, none is unknown;
// types are exact but that an int is a float, and a tuple a list where a tuple is declared; texts
// are compared without case, spaces and ,./-_*^; lists item by item in order; dictionaries key by
// key. A text is `[f(a=1), g(b=2)]`, backticks around it and missing brackets aside.
#pragma once

#include "grade/graders.h"

namespace dure {

// BFCL's declarations as OpenAI's tools: "dict" is "object", "float" a "number", "tuple" an
// "array", "any" a "string". A name keeps its dots; calls may write them as "_".
Json openai_tools(const Json& functions);

void add_function_call_graders(GraderTable& table);

}  // namespace dure
