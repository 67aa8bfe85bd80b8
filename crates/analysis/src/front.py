# The SMT-LIB front end that the cvc5 wheel lacks: commands come in on standard input, answers go out.
import sys
import cvc5

def fresh():
    terms = cvc5.TermManager()
    solver = cvc5.Solver(terms)
    symbols = cvc5.SymbolManager(terms)
    return solver, symbols, cvc5.InputParser(solver, symbols)


solver, symbols, parser = fresh()
held, depth, quoted = [], 0, False
for line in sys.stdin:
    held.append(line)
    comment = False
    for c in line:
        if comment:
            continue
        if c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c == ";":
            comment = True
        elif c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
    if depth > 0 or quoted:
        continue
    text, held = "".join(held), []
    # A reset does not reach all that the bindings hold.
    if text.strip() == "(reset)":
        solver, symbols, parser = fresh()
        continue
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "casemate")
    try:
        while True:
            command = parser.nextCommand()
            if command.isNull():
                break
            answer = command.invoke(solver, symbols)
            if answer and answer.strip() != "success":
                sys.stdout.write(answer if answer.endswith("\n") else answer + "\n")
    except Exception as error:
        sys.stdout.write('(error "' + str(error).replace('"', "'").replace("\n", " ") + '")\n')
    sys.stdout.flush()
