// Python as text: what Python itself guards cannot be told from C++.
#include "grade/code_programs.h"

namespace dure {

const char* const kJudgeOfAsserts = R"(
import builtins, importlib, json, os, sys

plain_modules = ('math cmath re string collections itertools functools operator heapq bisect copy '
                 'random statistics datetime decimal fractions json sys').split()

def told(error):
    try: return ('%s: %s' % (type(error).__name__, error))[:1000]
    except BaseException: return type(error).__name__

# Values as JSON. `hold` makes a number of what is no plain data, `held` the reverse.
def pack(value, hold):
    kind = type(value)
    if value is None or kind in (bool, float, str): return value
    if kind is int: return value if abs(value) < 1 << 53 else {'int': hex(value)}
    for name, kinds in (('list', list), ('tuple', tuple), ('set', set), ('frozenset', frozenset)):
        if isinstance(value, kinds): return {name: [pack(one, hold) for one in value]}
    if isinstance(value, dict):
        return {'dict': [[pack(key, hold), pack(one, hold)] for key, one in value.items()]}
    if isinstance(value, (bytes, bytearray)): return {'bytes': list(value)}
    if kind is complex: return {'complex': [value.real, value.imag]}
    if kind is range: return {'range': [value.start, value.stop, value.step]}
    if isinstance(value, str): return str.__str__(value)
    if isinstance(value, int): return pack(int.__int__(value), hold)
    if isinstance(value, float): return float.__float__(value)
    if kind.__module__ in ('decimal', 'fractions') and kind.__name__ in ('Decimal', 'Fraction'):
        return {kind.__name__: str(value)}
    if kind is type and getattr(builtins, value.__name__, None) is value:
        return {'type': value.__name__}
    if hasattr(kind, '__next__'): return {'iterator': [pack(one, hold) for one in value]}
    return {'held': hold(value)}

def unpack(said, held):
    if not isinstance(said, dict): return said
    (name, value), = said.items()
    if name == 'int': return int(value, 16)
    if name in ('list', 'tuple', 'set', 'frozenset'):
        return getattr(builtins, name)([unpack(one, held) for one in value])
    if name == 'dict': return {unpack(key, held): unpack(one, held) for key, one in value}
    if name == 'bytes': return bytes(value)
    if name == 'complex': return complex(*value)
    if name == 'range': return range(*value)
    if name == 'type' and type(getattr(builtins, str(value), None)) is type:
        return getattr(builtins, value)
    if name == 'iterator': return iter([unpack(one, held) for one in value])
    if name == 'Decimal': return importlib.import_module('decimal').Decimal(value)
    if name == 'Fraction': return importlib.import_module('fractions').Fraction(value)
    return held(value)

class NoInput:
    def __getattr__(self, name): raise OSError('there is no input')
    def __iter__(self): raise OSError('there is no input')

# The second process: the program, and what is asked of it.
def serve(asked, answers):
    sys.stdin = NoInput()
    objects, numbers, space = [], {}, {}
    def hold(value):
        if id(value) not in numbers:
            numbers[id(value)] = len(objects)
            objects.append(value)
        return numbers[id(value)]
    def get(number): return objects[number]
    def do(request):
        what = request['do']
        if what == 'run':
            with open('/program/program.py', encoding='utf-8', errors='replace') as file:
                exec(compile(file.read(), 'program', 'exec'), space)
            return None
        if what == 'name': return space[request['name']]
        if what == 'kinds':
            return {name: getattr(space[name], '__name__', '') if type(space[name]) is type(sys)
                    else None for name in unpack(request['names'], get) if name in space}
        subject = get(request['held'])
        if what == 'get': return getattr(subject, request['name'])
        if what == 'set': return setattr(subject, request['name'], unpack(request['value'], get))
        if what == 'iterate': return list(subject)
        if what == 'length': return len(subject)
        if what == 'item': return subject[unpack(request['key'], get)]
        return subject(*unpack(request['values'], get), **unpack(request['named'], get))
    for line in asked:
        try: answer = json.dumps({'value': pack(do(json.loads(line)), hold)})
        except BaseException as error:
            answer = json.dumps({'kind': type(error).__name__, 'error': told(error)})
        answers.write(answer + '\n')
        answers.flush()

class Gone(BaseException): pass
class Failed(Exception): pass

# The first process: what stands for the program's objects, and the tests.
def judge(asks, answers, report):
    known = {}
    def request(**what):
        try:
            asks.write(json.dumps(what) + '\n')
            asks.flush()
            line = answers.readline()
        except OSError: raise Gone()
        if not line.endswith('\n'): raise Gone()
        said = json.loads(line)
        if 'error' in said: raise failure(said['kind'], said['error'])
        return unpack(said['value'], remote)
    def failure(kind, text):
        base = getattr(builtins, kind, None)
        try:
            if issubclass(base, Exception):
                short = text[len(kind) + 2:]
                return type(kind, (base,), {'__str__': lambda self: short})()
        except TypeError: pass
        return Failed(text)
    class Remote:
        def __init__(self, number): self.__dict__['number'] = number
        def __call__(self, *values, **named):
            return request(do='call', held=self.number, values=pack(list(values), number_of),
                           named=pack(named, number_of))
        def __getattr__(self, name):
            if name.startswith('__'): raise AttributeError(name)
            return request(do='get', held=self.number, name=name)
        def __setattr__(self, name, value):
            request(do='set', held=self.number, name=name, value=pack(value, number_of))
        def __iter__(self): return iter(request(do='iterate', held=self.number))
        def __len__(self): return request(do='length', held=self.number)
        def __bool__(self): return True
        def __getitem__(self, key):
            return request(do='item', held=self.number, key=pack(key, number_of))
    def remote(number):
        if type(number) is not int: raise ValueError('no such object')
        return known.setdefault(number, Remote(number))
    def number_of(value):
        if type(value) is not Remote: raise TypeError('a test hands over what is no plain data')
        return value.number
    def names_of(code):
        out = set(code.co_names)
        for one in code.co_consts:
            if type(one) is type(code): out |= names_of(one)
        return out
    # What tests name and the program has. Builtins are the program's own only where tests name
    # nothing else of it: who tests set(f(x)) means Python's set.
    def borrow(codes):
        wanted = set().union(*(names_of(code) for code in codes))
        kinds = request(do='kinds', names=pack(sorted(wanted), number_of))
        own = [name for name in kinds if kinds[name] is None and not hasattr(builtins, name)]
        out = {name: importlib.import_module(kinds[name]) for name in kinds
               if kinds[name] in plain_modules}
        for name in own or [name for name in kinds if kinds[name] is None]:
            out[name] = request(do='name', name=name)
        return out

    task = json.load(os.fdopen(0, encoding='utf-8'))
    def tell(index, said):
        if said is not None: said = said.encode('utf-8', 'replace').decode()
        os.write(report, ('%d %s\n' % (index, json.dumps(said))).encode())
    try: request(do='run')
    except Exception as error: return tell(-1, str(error) if type(error) is Failed else told(error))
    space = {}
    try:
        codes = [compile(text, 'test', 'exec') for text in [task['before']] + task['tests']]
        space.update(borrow(codes))
        exec(codes[0], space)
    except Exception as error: return tell(-1, told(error))
    for index, code in enumerate(codes[1:]):
        try: exec(code, space)
        except Gone: return
        except BaseException as error:
            tell(index, str(error) if type(error) is Failed else told(error))
        else: tell(index, None)

def main():
    asked, asks = os.pipe()
    answers, answered = os.pipe()
    nowhere = os.open('/dev/null', os.O_RDWR)
    if os.fork() == 0:
        for file in (0, 1, 2): os.dup2(nowhere, file)
        os.close(asks)
        os.close(answers)
        serve(os.fdopen(asked), os.fdopen(answered, 'w'))
        os._exit(0)
    os.close(asked)
    os.close(answered)
    report = os.dup(1)
    for file in (1, 2): os.dup2(nowhere, file)
    try: judge(os.fdopen(asks, 'w'), os.fdopen(answers), report)
    except Gone: pass
    os._exit(0)
main()
)";

const char* const kFunctionReport = R"(import json, os, sys
task = json.load(open('/program/task.json', encoding='utf-8'))
def report_to():
    copy = os.dup(1)
    nowhere = os.open('/dev/null', os.O_RDWR)
    for file in (0, 1, 2): os.dup2(nowhere, file)
    def report(index, said):
        os.write(copy, ('%d %s\n' % (index, json.dumps(said))).encode())
    return report
report = report_to()
def sayable(text): return text.encode('utf-8', 'replace').decode()
def told(error):
    try: return sayable(('%s: %s' % (type(error).__name__, error))[:1000])
    except BaseException: return sayable(type(error).__name__)
)";

// The names that LiveCodeBench's checker puts in front of every program, in its order (each
// module's public names, then the modules themselves), and its depth of recursion.
const char* const kNames = R"(
def common_names():
    import importlib
    named = ('string re datetime collections heapq bisect copy math random statistics itertools '
             'functools operator io sys json builtins typing').split()
    space = {}
    for name in named: exec('from %s import *' % name, space)
    for name in named:
        if name not in ('builtins', 'typing'): space[name] = importlib.import_module(name)
    sys.setrecursionlimit(50000)
    return space
)";

const char* const kFunction = R"(
import faulthandler, numbers, signal
class TooLong(BaseException): pass
def alarm(number, frame): raise TooLong('more than %g s' % task['seconds'])
def written(value, outermost=False):
    if value is None or isinstance(value, bool): return value
    if isinstance(value, str): return value if value == sayable(value) else {'other': repr(value)}
    if isinstance(value, numbers.Integral): return int(value) if abs(value) < 1 << 63 else float(value)
    if isinstance(value, numbers.Real):
        value = float(value)
        return value if value - value == 0 else {'other': repr(value)}
    if isinstance(value, list) or outermost and isinstance(value, tuple):
        return [written(item) for item in value]
    if isinstance(value, dict):
        return {'dict': [[written(k), written(v)] for k, v in value.items()]}
    return {'other': sayable(repr(value)[:1000])}
def call(function, text):
    signal.setitimer(signal.ITIMER_PROF, task['seconds'])
    faulthandler.dump_traceback_later(2 * task['seconds'] + 1, exit=True)
    try:
        value = function(*[json.loads(line) for line in text.split('\n')])
        signal.setitimer(signal.ITIMER_PROF, 0)
        return {'value': written(value, True)}
    except BaseException as error:
        return {'error': told(error)}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
def main():
    signal.signal(signal.SIGPROF, alarm)
    space = dict(common_names(), __name__='solution')
    try:
        exec(compile(task['program'], 'program', 'exec'), space)
        if 'class Solution' in task['program']: function = getattr(space['Solution'](), task['name'])
        else: function = space[task['name']]
    except BaseException as error:
        return report(-1, {'error': told(error)})
    for index, text in enumerate(task['inputs']):
        said = call(function, text)
        report(index, said)
        if 'error' in said and not task['every']: return
main()
os._exit(0)
)";

const char* const kScript = R"(
def main():
    with open('/program/solution.py', encoding='utf-8') as file: program = file.read()
    space = common_names()
    space.update(__name__='__main__', __file__='solution.py')
    try:
        exec(compile(program, 'solution.py', 'exec'), space)
    except SystemExit:
        pass
main()
)";

}  // namespace dure
