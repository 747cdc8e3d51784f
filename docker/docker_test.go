package docker

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// stage is a build stage of the Dockerfile: its instructions, as they stand.
type stage struct {
	from  string
	lines []instruction
}

type instruction struct{ name, args string }

func stages(t *testing.T) (all []stage) {
	t.Helper()
	b, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "\\\n", " ")
	for line := range strings.Lines(text) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if name == "FROM" {
			all = append(all, stage{from: args})
			continue
		}
		if len(all) == 0 {
			t.Fatalf("%s before FROM", name)
		}
		s := &all[len(all)-1]
		s.lines = append(s.lines, instruction{name, strings.TrimSpace(args)})
	}
	return all
}

func (s stage) find(name string) (args []string) {
	for _, l := range s.lines {
		if l.name == name {
			args = append(args, l.args)
		}
	}
	return args
}

// list is an instruction's arguments in JSON form, which is YAML too.
func list(t *testing.T, args []string) (l []string) {
	t.Helper()
	if len(args) != 1 {
		t.Fatalf("want one instruction, there are %q", args)
	}
	if err := yaml.Unmarshal([]byte(args[0]), &l); err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
	return l
}

// binaries builds the two commands and returns their folder.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"minitrue", "minitruectl"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), "../cmd/"+name).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

var flagLine = regexp.MustCompile(`(?m)^ +(?:-\w, |    )--([\w.-]+)`)

// flagsOf are the flags of a command line, by what the command itself says.
func flagsOf(t *testing.T, bins string, argv []string) []string {
	t.Helper()
	var words []string // the subcommand
	for _, a := range argv[1:] {
		if strings.HasPrefix(a, "-") {
			break
		}
		words = append(words, a)
	}
	out, err := exec.Command(filepath.Join(bins, path.Base(argv[0])), append(words, "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q --help: %v\n%s", argv, err, out)
	}
	var flags []string
	for _, m := range flagLine.FindAllStringSubmatch(string(out), -1) {
		flags = append(flags, m[1])
	}
	if len(flags) < 2 {
		t.Fatalf("%q --help names no flags:\n%s", argv, out)
	}
	return flags
}

// checkFlags fails for each flag of a command line that the command does not have.
func checkFlags(t *testing.T, bins string, argv []string) {
	t.Helper()
	known := flagsOf(t, bins, argv)
	for _, a := range argv[1:] {
		name, ok := strings.CutPrefix(a, "--")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, "=")
		if !slices.Contains(known, strings.ReplaceAll(name, "_", "-")) {
			t.Errorf("%q: there is no flag --%s; there are %q", argv, name, known)
		}
	}
}

// value is what a flag of a command line is set to.
func value(argv []string, flag string) string {
	for i, a := range argv {
		if v, ok := strings.CutPrefix(a, "--"+flag+"="); ok {
			return v
		}
		if a == "--"+flag && i+1 < len(argv) {
			return argv[i+1]
		}
	}
	return ""
}

func TestDockerfile(t *testing.T) {
	all := stages(t)
	if len(all) != 2 || all[1].from != "scratch" {
		t.Fatalf("stages %+v", all)
	}
	build, final := all[0], all[1]
	goVersion, _ := strings.CutPrefix(build.from, "golang:")
	goVersion, _, _ = strings.Cut(goVersion, " ")
	mod, err := os.ReadFile("../go.mod")
	if err != nil || !strings.Contains(string(mod), "\ngo "+goVersion) {
		t.Errorf("the image builds with Go %q, which is not go.mod's", goVersion)
	}
	for _, args := range build.find("COPY") {
		for _, src := range strings.Fields(args)[:len(strings.Fields(args))-1] {
			if _, err := os.Stat(filepath.Join("..", src)); err != nil {
				t.Errorf("COPY %s: %v", args, err)
			}
		}
	}
	run := strings.Join(build.find("RUN"), "\n")
	for _, dir := range regexp.MustCompile(`\./cmd/\w+`).FindAllString(run, -1) {
		if _, err := os.Stat(filepath.Join("..", dir)); err != nil {
			t.Error(err)
		}
		if !strings.Contains(strings.Join(final.find("COPY"), "\n"), "/out/"+path.Base(dir)) {
			t.Errorf("%s is built and left behind", dir)
		}
	}
	if !strings.Contains(run, "CGO_ENABLED=0") {
		t.Error("the binaries are not static")
	}
	if user := final.find("USER"); len(user) != 1 || strings.HasPrefix(user[0], "0") || user[0] == "root" {
		t.Errorf("USER %q", user)
	}
	checkRun(t, final)
}

// checkRun checks what the image runs.
func checkRun(t *testing.T, final stage) {
	t.Helper()
	bins := binaries(t)
	argv := append(list(t, final.find("ENTRYPOINT")), list(t, final.find("CMD"))...)
	checkFlags(t, bins, argv)
	if v := final.find("VOLUME"); len(v) != 1 || value(argv, "data-dir") != v[0] {
		t.Errorf("the data folder is %q, the volume %q", value(argv, "data-dir"), v)
	}
	if value(argv, "listen") != "0.0.0.0" {
		t.Error("nobody outside the container can reach the node")
	}
	help, err := exec.Command(filepath.Join(bins, "minitrue"), "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if ports := final.find("EXPOSE"); len(ports) != 1 || ports[0] != "8080 1883 9000" {
		t.Errorf("EXPOSE %q", ports)
	}
	for _, port := range []string{"8080", "1883", "9000"} {
		if !strings.Contains(string(help), port) {
			t.Errorf("port %s is no default of the node", port)
		}
	}
	_, health, ok := strings.Cut(strings.Join(final.find("HEALTHCHECK"), ""), " CMD ")
	if !ok {
		t.Fatal("no health check")
	}
	check := list(t, []string{health})
	checkFlags(t, bins, check)
	if value(check, "url") != "http://127.0.0.1:8080" {
		t.Errorf("the health check asks %s", value(check, "url"))
	}
}
