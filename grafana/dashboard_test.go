package grafana

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// dashboard is as much of Grafana's model as the test speaks of.
type dashboard struct {
	UID        string `json:"uid"`
	Title      string `json:"title"`
	Schema     int    `json:"schemaVersion"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type variable struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Source     source `json:"datasource"`
	Definition string `json:"definition"`
	Query      struct {
		Query string `json:"query"`
	} `json:"query"`
}

type panel struct {
	ID      int                            `json:"id"`
	Type    string                         `json:"type"`
	Title   string                         `json:"title"`
	Repeat  string                         `json:"repeat"`
	Source  source                         `json:"datasource"`
	Grid    struct{ X, Y, W, H int }       `json:"gridPos"`
	Targets []target                       `json:"targets"`
	Config  struct{ Overrides []override } `json:"fieldConfig"`
}

type target struct {
	Ref     string `json:"refId"`
	Source  source `json:"datasource"`
	Expr    string `json:"expr"`
	Legend  string `json:"legendFormat"`
	Range   bool   `json:"range"`
	Instant bool   `json:"instant"`
}

type override struct {
	Matcher    struct{ ID, Options string }
	Properties []struct {
		ID    string
		Value any
	}
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	paths, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	all := map[string]dashboard{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		all[p] = d
	}
	return all
}

// query is an expression of a panel with every variable filled in.
type query struct {
	name    string
	expr    string
	instant bool
}

var anyVariable = regexp.MustCompile(`\$\{?\w+\}?`)

// fill puts values in place of variables, as Grafana does: the longest names first.
func fill(expr string, values map[string]string) string {
	names := slices.SortedFunc(maps.Keys(values), func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		expr = strings.ReplaceAll(expr, "${"+name+"}", values[name])
		expr = strings.ReplaceAll(expr, "$"+name, values[name])
	}
	return expr
}

// queries fills in the expressions of a dashboard. Panels below a row that repeats are there once for each value.
func (d dashboard) queries(values map[string][]string) (qs []query) {
	base := map[string]string{"__interval": "5s", "__interval_ms": "5000", "__rate_interval": "20s", "__range": "15m", "__range_s": "900"}
	for name, vs := range values {
		base[name] = "(" + strings.Join(vs, "|") + ")"
	}
	rowRepeat := ""
	for _, p := range d.Panels {
		if p.Type == "row" {
			rowRepeat = p.Repeat
		}
		repeat := p.Repeat
		if repeat == "" {
			repeat = rowRepeat
		}
		turns := []map[string]string{base}
		if repeat != "" {
			turns = nil
			for _, v := range values[repeat] {
				one := maps.Clone(base)
				one[repeat] = v
				turns = append(turns, one)
			}
		}
		for _, values := range turns {
			for _, tg := range p.Targets {
				qs = append(qs, query{fill(p.Title, values) + " " + tg.Ref, fill(tg.Expr, values), tg.Instant})
			}
		}
	}
	return qs
}

func TestDashboardsAreWhole(t *testing.T) {
	uids := map[string]bool{}
	for path, d := range dashboards(t) {
		if d.UID == "" || uids[d.UID] || d.Title == "" || d.Schema < 36 || len(d.Panels) == 0 {
			t.Errorf("%s: uid %q, title %q, schema %d, %d panels", path, d.UID, d.Title, d.Schema, len(d.Panels))
		}
		uids[d.UID] = true
		known := map[string][]string{}
		for _, v := range d.Templating.List {
			if _, _, err := labelValues(v.Definition); err != nil || v.Definition != v.Query.Query || v.Type != "query" {
				t.Errorf("%s: variable %s: %q, %q: %v", path, v.Name, v.Definition, v.Query.Query, err)
			}
			checkSource(t, path+" variable "+v.Name, v.Source)
			for _, used := range anyVariable.FindAllString(v.Definition, -1) {
				if _, ok := known[strings.Trim(used, "${}")]; !ok {
					t.Errorf("%s: variable %s uses %s, which is not defined before it", path, v.Name, used)
				}
			}
			known[v.Name] = []string{"a"}
		}
		checkPanels(t, path, d, known)
		for _, q := range d.queries(known) {
			if left := anyVariable.FindString(q.expr); left != "" {
				t.Errorf("%s: %s: nobody fills in %s", path, q.name, left)
			}
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr); err != nil {
				t.Errorf("%s: %s: %v", path, q.name, err)
			}
		}
	}
}

func checkSource(t *testing.T, what string, s source) {
	t.Helper()
	if s.Type != "prometheus" || s.UID != "minitrue" {
		t.Errorf("%s: data source %+v", what, s)
	}
}

func checkPanels(t *testing.T, path string, d dashboard, variables map[string][]string) {
	t.Helper()
	ids := map[int]bool{}
	taken := map[[2]int]int{}
	for _, p := range d.Panels {
		what := fmt.Sprintf("%s panel %d", path, p.ID)
		if p.ID == 0 || ids[p.ID] || p.Title == "" {
			t.Errorf("%s: the id must be unique and there must be a title", what)
		}
		ids[p.ID] = true
		if _, ok := variables[p.Repeat]; p.Repeat != "" && !ok {
			t.Errorf("%s: it repeats by %s, which is no variable", what, p.Repeat)
		}
		if g := p.Grid; g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%s: its place %+v is not on the grid", what, g)
		}
		for x := p.Grid.X; x < p.Grid.X+p.Grid.W; x++ {
			for y := p.Grid.Y; y < p.Grid.Y+p.Grid.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%s: it lies over panel %d", what, other)
				}
				taken[[2]int{x, y}] = p.ID
			}
		}
		if p.Type == "row" {
			continue
		}
		checkSource(t, what, p.Source)
		if len(p.Targets) == 0 {
			t.Errorf("%s: it shows nothing", what)
		}
		legends := map[string]bool{}
		for _, tg := range p.Targets {
			checkSource(t, what, tg.Source)
			if tg.Ref == "" || tg.Legend == "" || tg.Range == tg.Instant {
				t.Errorf("%s: target %+v", what, tg)
			}
			legends[tg.Legend] = true
		}
		for _, o := range p.Config.Overrides { // a band goes from one legend to another
			for _, prop := range o.Properties {
				if prop.ID == "custom.fillBelowTo" && (!legends[fmt.Sprint(prop.Value)] || !legends[o.Matcher.Options]) {
					t.Errorf("%s: the band from %s to %v has no such series", what, o.Matcher.Options, prop.Value)
				}
			}
		}
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestProvisioning(t *testing.T) {
	var ds struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			JSONData                     map[string]any `yaml:"jsonData"`
		}
	}
	readYAML(t, "provisioning/datasources/minitrue.yaml", &ds)
	if ds.APIVersion != 1 || len(ds.Datasources) != 1 {
		t.Fatalf("%+v", ds)
	}
	d := ds.Datasources[0]
	if d.UID != "minitrue" || d.Type != "prometheus" || d.Access != "proxy" || d.URL != "http://minitrue:8080" ||
		d.JSONData["httpMethod"] != "POST" || d.JSONData["prometheusType"] != "Prometheus" {
		t.Errorf("%+v", d)
	}
	var ps struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	readYAML(t, "provisioning/dashboards/minitrue.yaml", &ps)
	if ps.APIVersion != 1 || len(ps.Providers) != 1 || ps.Providers[0].Type != "file" || ps.Providers[0].Options.Path == "" {
		t.Errorf("%+v", ps)
	}
}
