"""Write the papers' pages and README's table of them anew."""

from l2l_cli.config.groups import papers
from tests.pages import README, page_of, place_of, readme_of

for paper in papers():
    place_of(paper).write_text(page_of(paper), encoding="utf-8")
README.write_text(readme_of(README.read_text(encoding="utf-8")), encoding="utf-8")
